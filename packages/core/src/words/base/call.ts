import type { LongshoreError } from "./error.ts";
import { neverAborted, nobodyWaits, whenAborted } from "./when-aborted.ts";
import type { Writable } from "./writable.ts";

/** Name of an endpoint, unique among those an endpoint knows. */
export type EndpointId = string;
/** The tenant of a request. */
export type TenantId = string;
/**
 * Where something is processed, as a path from wide to narrow: `eu`, `eu/de`, `eu/de/store-7`. A rule that names a zone
 * allows everything inside it. `device` is the zone of the caller's own machine and lies inside every other.
 */
export type ZoneId = string;
/** A word of the operator's policy for how sensitive an input is. A word that the policy does not know is denied. */
export type DataClass = string;
/**
 * How far an endpoint is believed: `none` < `listed` in the operator's directory < `operated` by the same operator < `vouched` for by the
 * operator < `attested`, which hardware proves. Nothing here verifies such a proof, so no endpoint is `attested`: rules may demand it, and
 * then nothing leaves the device.
 */
export type TrustLevel = "none" | "listed" | "operated" | "vouched" | "attested";

const trustOrder: readonly TrustLevel[] = ["none", "listed", "operated", "vouched", "attested"];

/** Levels of trust. */
export const trustLevels: number = trustOrder.length;

/** Whether a word is a trust level. */
export function isTrustLevel(word: unknown): word is TrustLevel {
  return trustOrder.some((level) => level === word);
}

/** Position of a trust level in the order from `none` (0) to `attested` (4); a word that is no level counts as `none`. */
export function trustRank(level: TrustLevel): number {
  return Math.max(0, trustOrder.indexOf(level));
}

/** The same of a level that is demanded: a word that is no level demands more than any endpoint has. */
export function demandedRank(level: TrustLevel): number {
  const rank = trustOrder.indexOf(level);
  return rank < 0 ? trustOrder.length : rank;
}

/** The higher of two demands. */
export function moreTrust(a: TrustLevel, b: TrustLevel): TrustLevel {
  return demandedRank(a) < demandedRank(b) ? b : a;
}

/** The less believed of two levels. */
export function leastTrust(a: TrustLevel, b: TrustLevel): TrustLevel {
  return trustRank(a) <= trustRank(b) ? a : b;
}

/** Tells whether `zone` lies inside one of `allowed`. */
export function zoneWithin(zone: ZoneId, allowed: readonly ZoneId[]): boolean {
  if (zone === "device") return true;
  // Without building strings: a decision over a thousand endpoints asks thousands of times.
  for (const outer of allowed) {
    if (zone === outer || (zone.startsWith(outer) && zone[outer.length] === "/")) return true;
  }
  return false;
}

/** The requested zones that are allowed: rules only ever narrow. Undefined requests, or allows, any. */
export function narrowerZones(
  asked: readonly ZoneId[] | undefined,
  allowed: readonly ZoneId[] | undefined,
): readonly ZoneId[] | undefined {
  if (!asked || !allowed) return asked ?? allowed;
  const inside = (zone: ZoneId, outer: ZoneId): boolean => zone === outer || zone.startsWith(`${outer}/`);
  return [
    ...asked.filter((zone) => allowed.some((outer) => inside(zone, outer))),
    ...allowed.filter((zone) => asked.some((outer) => zone !== outer && inside(zone, outer))),
  ];
}

/** Rules that travel with a request and hold on every path, retries and back-ups included. They only ever narrow. */
export interface Rules {
  /** Zones in which it may be processed; undefined allows any zone that the data class allows. */
  readonly zones?: readonly ZoneId[];
  readonly dataClass: DataClass;
  readonly leastTrust: TrustLevel;
  /**
   * A caller gets no answer that only one endpoint has given; an endpoint alone refuses the request. Default: one is believed.
   */
  readonly confirm?: true;
}

/** The same rules, held to zones and a trust that are demanded besides. */
export function narrowerRules(
  rules: Rules,
  { zones, leastTrust }: Partial<Pick<Rules, "zones" | "leastTrust">>,
): Rules {
  if (!zones && leastTrust === undefined) return rules;
  const both = narrowerZones(rules.zones, zones);
  return {
    ...rules,
    leastTrust: moreTrust(rules.leastTrust, leastTrust ?? "none"),
    ...(both ? { zones: both } : {}),
  };
}

/** W3C trace context. */
export interface TraceContext {
  /** 32 hexadecimal digits. */
  readonly traceId: string;
  /** 16 hexadecimal digits. */
  readonly spanId: string;
  readonly sampled: boolean;
  /** `tracestate`: data of other tracing systems to carry along, at most 512 characters, never read here. */
  readonly state?: string;
}

/** The context that every operation carries, always last; it replaces loose signal, deadline and tenant parameters. */
export interface Call {
  readonly id: string;
  readonly abort: AbortSignal;
  /** Instant on the local Clock after which the answer is worthless; Infinity for none. Remaining time on the wire. */
  readonly deadlineMs: number;
  readonly tenant: TenantId;
  readonly rules: Rules;
  /** Endpoints the request has been through, so that it never comes back. */
  readonly path: readonly EndpointId[];
  readonly trace?: TraceContext;
  readonly idempotencyKey?: string | undefined;
  /** The rights of the sender where the request came in; an endpoint that it is forwarded to grants no more. */
  readonly rights?: readonly string[];
  /** Triton's schedule policy: 1 is the most urgent; undefined takes the model's default. */
  readonly priority?: number;
  /**
   * Triton's schedule policy: how long a queue may hold the request, in milliseconds, where the model lets callers say so.
   * Unlike `deadlineMs` it ends when the run begins.
   */
  readonly queueTimeoutMs?: number;
  /**
   * How long the sender believes that the request has to wait at the endpoint that it is sent to, with some to spare, in
   * milliseconds: an endpoint that has more waiting says so (`busier`) instead of taking it. Of one leg only.
   */
  readonly mostWaitMs?: number | undefined;
  /**
   * The most that the request may cost, in micros, retries and second runs included. An endpoint that takes the request charges no more.
   * Undefined: no limit.
   */
  readonly maxCostMicros?: number | undefined;
  /** The objective for decisions on the way, as `longshore-goal` says it; undefined: the default of each endpoint. */
  readonly goal?: string | undefined;
  /** The tenant's user that sends the request, for rollouts that keep a user to one side. It is not verified. */
  readonly user?: string;
}

/** A call for housekeeping that no caller's rules bind: loading, probing, profiling. */
export function housekeepingCall(id: string, abort: AbortSignal = neverAborted): Call {
  return {
    id,
    abort,
    deadlineMs: Infinity,
    tenant: "local",
    rules: { dataClass: "public", leastTrust: "none" },
    path: [],
  };
}

/** A call that only its maker knows, and may still change. */
export type OwnCall = Writable<Call>;

/**
 * The same call in an object of its own. Every request passes several. Fields are assigned one by one: engines give each copy
 * that is spread and then changed a hidden shape of its own, and every read of its fields must look that up.
 */
export function ownCall(call: Call): OwnCall {
  const { id, abort, deadlineMs, tenant, rules, path } = call;
  const own: OwnCall = { id, abort, deadlineMs, tenant, rules, path };
  if (call.rights !== undefined) own.rights = call.rights;
  if (call.trace !== undefined) own.trace = call.trace;
  if (call.idempotencyKey !== undefined) own.idempotencyKey = call.idempotencyKey;
  if (call.priority !== undefined) own.priority = call.priority;
  if (call.queueTimeoutMs !== undefined) own.queueTimeoutMs = call.queueTimeoutMs;
  if (call.mostWaitMs !== undefined) own.mostWaitMs = call.mostWaitMs;
  if (call.maxCostMicros !== undefined) own.maxCostMicros = call.maxCostMicros;
  if (call.goal !== undefined) own.goal = call.goal;
  if (call.user !== undefined) own.user = call.user;
  return own;
}

/**
 * Keeps controllers that were not fired and that no listener waits for any more, for use in another call. Platforms take longer
 * to make a controller, and to look into a fresh one, than for most other work of a small request. A signal means something
 * only while its work goes on; listeners remove themselves when the work ends, as on signals of connections.
 */
export class SpareControllers {
  readonly #spare: AbortController[] = [];

  take(): AbortController {
    return this.#spare.pop() ?? new AbortController();
  }

  /** Its work has ended. A controller that was fired, or that a listener still waits for, is not used again. */
  give(controller: AbortController): void {
    const { signal } = controller;
    if (!signal.aborted && this.#spare.length < mostSpare && nobodyWaits(signal))
      this.#spare.push(controller);
  }
}

const mostSpare = 64;

/**
 * A call that ends when `parent` ends or when `abort` of the result is fired by its owner. Dispose it when the work ends, so
 * that long-lived parents do not collect listeners.
 *
 * @param spare Where its controller comes from, and goes when the call is disposed: `cancel` does nothing from then on.
 * Default:
 *   a fresh one.
 */
export function childCall(
  parent: Call,
  change: Partial<Omit<Call, "abort">> = {},
  spare?: SpareControllers,
): ChildCall {
  return new ChildCall(parent, change, spare);
}

/** A call within another. A class for the same reason as `Once`. */
class ChildCall implements Disposable {
  readonly call: Call;
  readonly #spare: SpareControllers | undefined;
  readonly #unfollow: (() => void) | undefined;
  #controller: AbortController | undefined;

  constructor(parent: Call, change: Partial<Omit<Call, "abort">>, spare: SpareControllers | undefined) {
    const controller = spare?.take() ?? new AbortController();
    this.#controller = controller;
    this.#spare = spare;
    const { abort } = parent;
    if (abort.aborted) controller.abort(abort.reason);
    else this.#unfollow = whenAborted(abort, () => this.#controller?.abort(abort.reason));
    const call = Object.assign(ownCall(parent), change);
    call.abort = controller.signal;
    this.call = call;
  }

  readonly cancel = (reason: LongshoreError): void => this.#controller?.abort(reason);

  [Symbol.dispose](): void {
    this.#unfollow?.();
    const controller = this.#controller;
    if (!controller || !this.#spare) return;
    this.#controller = undefined;
    this.#spare.give(controller);
  }
}
