import { crc32 } from "node:zlib";
import {
  type Clock,
  type LoadReport,
  LongshoreError,
  type Observer,
  observers,
  type Random,
  type Rules,
  silentObserver,
  type Tier,
  type ZoneId,
} from "@longshore/core";
import { type Registration, openRollouts, rolloutEndpoint } from "@longshore/core/internal";
import { messageLimits } from "./message-limits.ts";
import { quickSha256, sharedFolder, systemClock, systemRandom } from "@longshore/nodejs";
import {
  type Accepts,
  answerCache,
  type AnswerCache,
  cachedEndpoint,
  createHandler,
  createLife,
  onceEndpoint,
  withCors,
} from "@longshore/server";
import { aliasFile } from "../rollout/alias-file.ts";
import { followAliases } from "../rollout/follow-aliases.ts";
import { prepareTarget, targetOf } from "../rollout/target.ts";
import { platformCodecs } from "../engine/codecs.ts";
import type { BufferedEvents } from "../connect/buffered-events.ts";
import {
  endpointName,
  joinAs,
  type JoinOptions,
  leave,
  openJoin,
  reachable,
  serverName,
} from "../connect/join.ts";
import { type OpenedIdentity, openIdentity } from "./identity.ts";
import { hostsOf, isLoopbackHost, type ListenersOptions, openListeners } from "./listeners.ts";
import { openQuotas, type QuotaOptions } from "./quotas.ts";
import { openTelemetry, type TelemetryOptions } from "./telemetry.ts";
import type { OnlineEndpoint } from "../connect/online-endpoint.ts";

/** The options of every server, for any endpoint. */
export interface OnlineOptions extends ListenersOptions {
  /**
   * File of senders and their rights: `identity.yaml`. Without it programs on this machine have every right, and listening on other addresses
   * than loopback is refused.
   */
  readonly identity?: string;
  /** Listen on any address without identity: every sender that reaches it may infer. Default false. */
  readonly insecureNoIdentity?: boolean;
  /** Gets a line for each event of changed files that the operator should know. Default: none. */
  readonly report?: (text: string) => void;
  /** Default the tier, the port and random letters: two servers of one name take each other for a loop. */
  readonly id?: string;
  /** Default `edge`. */
  readonly tier?: Tier;
  /** Default `local`. */
  readonly zone?: ZoneId;
  /** Larger bodies may hold one larger tensor, and two of them fit at one time. Default 64 MiB. */
  readonly maxBodyBytes?: number;
  /**
   * Bytes that are kept of a body which is sent on while it arrives, so that it can be sent to another server. Of a longer one
   * what was sent on is gone, and there is no second try. Default 16 MiB; 0 keeps nothing that is under way.
   */
  readonly maxKeptBytes?: number;
  /** Lets callers with the right to manage load and unload models. Default: when management has a port of its own. */
  readonly allowManagement?: boolean;
  /** Lets a load bring the model's files along. Default false. */
  readonly modelUploads?: boolean;
  /** The prefix of shared memory keys that programs on this machine may have read and written. Default: none. */
  readonly sharedMemoryPrefix?: string;
  /** Request headers, by lower-case name, that go to the steps of models as parameters. Default: none. */
  readonly forwardHeaders?: RegExp;
  /** Origins of web pages that may use the server, or `*` for all. Default: none. */
  readonly pages?: "*" | readonly string[];
  /** Told of everything, besides the telemetry. */
  readonly observer?: Observer;
  /** Default: the clock of the system. */
  readonly clock?: Clock;
  /** Events of parts that were opened before, such as a directory: recorded as this server's own. */
  readonly events?: BufferedEvents;
  readonly telemetry?: TelemetryOptions;
  /**
   * Memory for answers of models whose operator lets them be kept, in bytes. Default 64 MiB; 0 keeps none, and equal
   * requests at the same time still share a run.
   */
  readonly cacheBytes?: number;
  /** Rules of requests that state none. Default: a data class that no policy knows, so they never leave this endpoint. */
  readonly unstatedRules?: Rules;
  /** A directory that this server joins when it is ready, and leaves before it drains. */
  readonly join?: JoinOptions;
  /**
   * Called once the ports listen, with a function that refuses new work and resolves when the work under way has finished or
   * the time has passed: for a server that is stopped while models are still being loaded.
   */
  readonly listening?: (drain: (graceMs: number) => Promise<void>) => void;
  /** The file where aliases are kept. Default: nowhere, so that they end with the server. */
  readonly aliases?: string;
  /** The rule that keeps data of a class of a tenant from this server, if any. Default: none does. */
  readonly accepts?: Accepts;
  /** Limits of tenants. Default: none. */
  readonly quotas?: QuotaOptions;
  /** The longest time that a request with a deadline waits for a first server of its model, in milliseconds. Default 0. */
  readonly holdMs?: number;
}

/** A server on its port. */
export interface Online {
  /** `http://host:port`, or `https`. */
  readonly address: string;
  /** `host:port` of gRPC, when it is served. */
  readonly grpcAddress: string | undefined;
  /** Where management and metrics are, when they have ports of their own. */
  readonly manageAddress: string | undefined;
  readonly metricsAddress: string | undefined;
  /**
   * Readiness false at once, new work refused with `shutting-down`, work under way finished for up to `graceMs`; then
   * the port is closed, but not before `lingerMs` (default 0), so that balancers see readiness go before connections do.
   * Idempotent.
   */
  close(graceMs?: number, lingerMs?: number): Promise<void>;
}

/** The parts that exist before the endpoint. */
export interface OnlineParts {
  readonly id: string;
  readonly tier: Tier;
  readonly zone: ZoneId;
  readonly clock: Clock;
  readonly random: Random;
  /** Reaches the telemetry. */
  readonly observer: Observer;
  readonly identity: OpenedIdentity | undefined;
  readonly report: (text: string) => void;
  /** Answers that are kept, for the steps of other models. */
  readonly answers: AnswerCache;
}

/** Identity from its file. Refuses to be reachable by others while senders are not identified. */
async function identityOf(
  options: OnlineOptions,
  parts: { readonly clock: Clock; readonly report: (text: string) => void },
): Promise<OpenedIdentity | undefined> {
  if (options.identity !== undefined) return openIdentity(options.identity, parts);
  const exposed = hostsOf(options).find((host) => !isLoopbackHost(host));
  if (exposed === undefined || options.insecureNoIdentity === true) return undefined;
  throw new LongshoreError(
    "invalid-configuration",
    "resolve",
    `listening on ${exposed} without identity would admit every client that reaches it: give --identity FILE, or --insecure-no-identity`,
  );
}

/**
 * Puts what `open` makes on its ports, with identity, telemetry, a response cache and an orderly end. Throws `port-taken`,
 * and `invalid-configuration` for identity or certificates that are not good, and for other addresses than loopback
 * without identity.
 */
export async function putOnline<T extends OnlineEndpoint>(
  options: OnlineOptions,
  open: (parts: OnlineParts) => T,
): Promise<Online & { readonly served: T }> {
  const clock = options.clock ?? systemClock();
  const random = systemRandom();
  const report = options.report ?? (() => undefined);
  const directoryServer = options.join && (await openJoin(options.join, clock));
  const identity = await identityOf(options, { clock, report });
  const life = createLife();
  const { tier = "edge", zone = "local" } = options;
  if (zone === "device") {
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      "a server cannot be in zone device, which is each caller's own machine: name another zone",
    );
  }
  const id =
    options.id ??
    (options.join ? endpointName(random, options.port) : serverName(tier, random, options.port));
  const load = (): LoadReport => served.load();
  const startedMs = clock.nowMs();
  const { telemetry, close: closeTelemetry } = openTelemetry(options.telemetry ?? {}, {
    clock,
    random,
    load,
    directory: () => {
      const snapshot = served.directory?.snapshot();
      // A directory that was never in touch has an age, too: an alert on it must fire.
      return snapshot && { ...snapshot, ageMs: Math.min(snapshot.ageMs, clock.nowMs() - startedMs) };
    },
    checked: () => served.checked?.() ?? [],
    resource: { "service.instance.id": id, "longshore.tier": tier, "longshore.zone": zone },
  });
  const told = observers(telemetry.observer, options.observer ?? silentObserver);
  const limited =
    options.quotas &&
    (await openQuotas(options.quotas, {
      id,
      clock,
      report,
      ...(identity ? { weightOf: identity.weightOf } : {}),
    }));
  const observer = limited ? observers(told, limited.quotas.observer) : told;
  options.events?.passTo(observer);
  const answers = answerCache({
    clock,
    observer,
    hash: quickSha256,
    maxBytes: options.cacheBytes ?? 64 * 2 ** 20,
    load,
  });
  const served = open({ id, tier, zone, clock, random, observer, identity, report, answers });
  const cached = cachedEndpoint(served.endpoint, answers);
  const closing = new AbortController();
  const rollouts = await openRollouts({
    clock,
    observer,
    resolve: (model, version) => targetOf(cached, model, version),
    prepare: (model, target) => prepareTarget(cached, model, target, clock, closing.signal),
    ...(options.aliases === undefined ? {} : { shelf: aliasFile(options.aliases) }),
  });
  const following = served.directory && followAliases(served.directory, rollouts, report);
  const named = rolloutEndpoint(cached, { rollouts, clock, draw: () => random.next() });
  // Before names are resolved: a repeated request gets the answer that it had, wherever the name leads now.
  const endpoint = onceEndpoint(named, { clock, observer });
  const { limits, maxBufferedBytes, maxKeptBytes } = messageLimits(
    options.maxBodyBytes,
    options.maxKeptBytes,
  );
  const answering = createHandler({
    endpoint,
    codecs: platformCodecs(),
    crc32,
    clock,
    observer,
    life,
    telemetry,
    load,
    modelControl: options.allowManagement ?? options.managePort !== undefined,
    modelUploads: options.modelUploads ?? false,
    maxKeptBytes,
    ...(served.repository ? { repository: served.repository } : {}),
    ...(options.sharedMemoryPrefix === undefined
      ? {}
      : { sharedMemory: sharedFolder(options.sharedMemoryPrefix) }),
    ...(options.forwardHeaders ? { forwardHeaders: options.forwardHeaders } : {}),
    ...(options.unstatedRules ? { unstatedRules: options.unstatedRules } : {}),
    ...(identity ? { identify: identity.identify } : {}),
    pages: options.pages ?? [],
    ...(served.available ? { available: served.available } : {}),
    ...(served.packages ? { packages: served.packages } : {}),
    ...(served.joins ? { directory: served.joins } : {}),
    ...(options.accepts ? { accepts: options.accepts } : {}),
    ...(options.holdMs === undefined || options.holdMs === 0 ? {} : { hold: { mostMs: options.holdMs } }),
    ...(limited ? { quotas: limited.quotas } : {}),
    ...(limited?.leases ? { leases: limited.leases } : {}),
    rollouts,
    limits,
    maxBufferedBytes,
  });
  const { pages } = options;
  const handler = pages ? withCors(answering, { origins: pages }) : answering;
  const closeServed = async (): Promise<void> => {
    identity?.close();
    following?.[Symbol.dispose]();
    closing.abort(new LongshoreError("shutting-down", "resolve", "the server is shutting down"));
    await endpoint.close();
    await served.close();
    await limited?.close();
    await closeTelemetry();
  };
  let unlisten = (): Promise<void> => Promise.resolve();
  try {
    const listeners = await openListeners(handler, options, {
      clock,
      random,
      observer,
      limits,
      maxBufferedBytes,
      report,
    });
    unlisten = () => listeners.close(0);
    let closed: Promise<void> | undefined;
    let registration: Registration | undefined;
    const { join } = options;
    const joining = join && { id, tier, zone, served, address: reachable(join, listeners.address) };
    const joinOnce = (): void => {
      if (!joining || !directoryServer || registration || life.state === "draining") return;
      registration = joinAs(join, directoryServer, joining, { clock, random, observer });
      served.joined?.(registration);
    };
    const ready = (): void => {
      life.ready();
      joinOnce();
    };
    const after = (ms: number): Promise<void> => new Promise((resolve) => void clock.timer(ms, resolve));
    options.listening?.(async (graceMs) => {
      listeners.drain();
      await Promise.race([life.drain(), after(graceMs)]);
    });
    if (served.begin) await served.begin(ready, joinOnce, life.loaded);
    else ready();
    const close = async (graceMs: number, lingerMs: number): Promise<void> => {
      const over = after(graceMs);
      const endMs = clock.nowMs() + graceMs;
      served.stop?.();
      listeners.drain();
      const drained = life.drain();
      if (registration) await leave(registration, clock, over);
      const sent = drained.then(() => listeners.sent());
      await Promise.race([Promise.all([sent, after(lingerMs)]), over]);
      await listeners.close(Math.max(0, Math.min(1000, endMs - clock.nowMs())));
      await closeServed();
    };
    const { address, grpcAddress, manageAddress, metricsAddress } = listeners;
    return {
      served,
      address,
      grpcAddress,
      manageAddress,
      metricsAddress,
      close: (graceMs = 30_000, lingerMs = 0) => (closed ??= close(graceMs, lingerMs)),
    };
  } catch (error) {
    served.stop?.();
    await unlisten();
    await closeServed();
    throw error;
  }
}
