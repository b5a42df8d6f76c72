import type { Random, Rules, Tier, TrustLevel } from "@longshore/core";
import type { ModelName } from "./models.ts";
import { type Fault, type FaultKind } from "./plan.ts";
import { drawOne, drawWhole, randomFor } from "./seeds.ts";

/** A machine that runs models and serves them. */
export interface ServerSpec {
  readonly name: string;
  readonly tier: Tier;
  readonly zone: string;
  readonly trust: TrustLevel;
  /** Runs take the time of a model over this. */
  readonly speed: number;
  readonly models: readonly ModelName[];
}

/** A request of an app. */
export interface RequestSpec {
  /** Counts from 1 over all apps; the input carries it. */
  readonly tag: number;
  readonly atMs: number;
  readonly model: ModelName;
  readonly values: readonly number[];
  /** When it is sent; Infinity for never. */
  readonly deadlineMs: number;
  readonly dataClass: string;
  readonly zones: readonly string[] | undefined;
  readonly leastTrust: TrustLevel;
  readonly idempotencyKey: string | undefined;
  /** The name in the request, if that leads to a version of the model. */
  readonly alias?: string;
}

/** Steps of one sequence, sent one after another. */
export interface SequenceSpec {
  readonly steps: readonly RequestSpec[];
}

/** How an app reaches servers. */
export type AppReach = "servers" | "gateway" | "directory";

/** A machine on which an app runs. */
export interface AppSpec {
  readonly name: string;
  /** The models that it can run by itself. */
  readonly models: readonly ModelName[];
  readonly reach: AppReach;
  readonly requests: readonly RequestSpec[];
  readonly sequences: readonly SequenceSpec[];
  /** It is a client of the plain protocol that numbers no steps and sends a step again, with the same key, until it is answered. */
  readonly plain?: true;
}

/** A machine that sends requests on. */
export interface GatewaySpec {
  readonly name: string;
  readonly zone: string;
  /** Servers join its directory; otherwise it knows them by name. */
  readonly joined: boolean;
  /** The operator signs entries, and no other entry is believed. */
  readonly signed: boolean;
  readonly leaseMs: number;
  /** An alias leads to versions of `sum`; a canary begins and ends at these times. */
  readonly rollout:
    | { readonly startMs: number; readonly endMs: number; readonly how: "promote" | "abort" }
    | undefined;
}

/** A world before anything happens. */
export interface WorldSpec {
  readonly seed: number;
  readonly servers: readonly ServerSpec[];
  /** Servers join its directory, or it knows them by name. */
  readonly gateway: GatewaySpec | undefined;
  /** Servers get their models from there. */
  readonly packages: string | undefined;
  /** Versions of `sum` that servers have. */
  readonly sumVersions: readonly number[];
  readonly apps: readonly AppSpec[];
  /** When the last request is sent. */
  readonly untilMs: number;
}

const gatewayName = "gateway";

/** The zone of everything; rules may be narrower. */
export const everywhere = "earth";
const zones = ["earth/eu/a", "earth/eu/b", "earth/us", "earth/europa"] as const;

/** Mostly what may go somewhere; the last one no policy knows. */
const dataClasses: readonly [string, ...string[]] = [
  "public",
  "public",
  "public",
  "public",
  "internal",
  "internal",
  "personal",
  "personal",
  "restricted",
  "unheard-of",
];

/** The name that a rollout goes by. */
export const aliasOfWorld = "total";

/** Draws a world. */
export function drawWorld(seed: number): WorldSpec {
  const random = randomFor(seed, "world");
  const untilMs = drawWhole(random, 8_000, 20_000);
  const servers = Array.from({ length: drawWhole(random, 1, 3) }, (_, index): ServerSpec => ({
    name: `server-${index + 1}`,
    tier: random.next() < 0.6 ? "edge" : "cloud",
    zone: drawOne(random, zones),
    trust: random.next() < 0.75 ? "operated" : "listed",
    speed: 1 + 3 * random.next(),
    models: random.next() < 0.85 ? ["sum", "deep", "count"] : ["sum", "deep"],
  }));
  const gateway = random.next() < 0.65 ? drawGateway(random, untilMs) : undefined;
  const packages = random.next() < 0.2 ? "packages" : undefined;
  const reaches: readonly AppReach[] = !gateway
    ? ["servers"]
    : gateway.joined
      ? ["gateway", "directory"]
      : ["gateway", "servers"];
  let tag = 0;
  const apps = Array.from({ length: drawWhole(random, 1, 2) }, (_, index): AppSpec => {
    const name = `app-${index + 1}`;
    const own = randomFor(seed, `requests of ${name}`);
    const meanGapMs = untilMs / drawWhole(own, 8, 24);
    const ask = (atMs: number, model: ModelName): RequestSpec => ({
      tag: ++tag,
      atMs,
      model,
      values: [drawWhole(own, 1, 999), drawWhole(own, 1, 999), drawWhole(own, 1, 999)],
      deadlineMs: drawOne(own, [400, 1500, 4000, 4000, 10_000, 20_000]),
      dataClass: drawOne(own, dataClasses),
      zones: own.next() < 0.25 ? [drawOne(own, ["earth/eu", "earth/eu/a", "earth"])] : undefined,
      leastTrust: own.next() < 0.15 ? "operated" : "none",
      idempotencyKey: own.next() < 0.3 ? `${name}-${tag}` : undefined,
    });
    const reach = reaches[Math.floor(random.next() * reaches.length)] ?? "servers";
    const requests: RequestSpec[] = [];
    for (let atMs = 50 + own.next() * 500; atMs < untilMs; atMs += 2 * meanGapMs * own.next() ** 1.5) {
      const request = ask(atMs, own.next() < 0.75 ? "sum" : "deep");
      const named = own.next() < 0.6 && request.model === "sum" && atMs > 1500;
      requests.push(
        named && gateway?.rollout && reach === "gateway" ? { ...request, alias: aliasOfWorld } : request,
      );
    }
    const sequences = Array.from({ length: drawWhole(own, 0, 2) }, (): SequenceSpec => {
      let atMs = own.next() * untilMs * 0.7;
      return {
        steps: Array.from({ length: drawWhole(own, 2, 6) }, () => {
          atMs += own.next() * 1500;
          return {
            ...ask(atMs, "count"),
            dataClass: "public",
            zones: undefined,
            leastTrust: "none" as const,
          };
        }),
      };
    });
    return {
      name,
      models: random.next() < 0.35 ? ["sum", "deep", "count"] : [],
      reach,
      requests,
      sequences,
    };
  });
  if (hasPlainClient(seed, gateway)) apps.push(drawPlainClient(seed, tag, untilMs));
  return { seed, servers, gateway, packages, sumVersions: gateway?.rollout ? [1, 2] : [1], apps, untilMs };
}

/** One seed in this many has a plain client, if it has a gateway. */
const plainEvery = 7;

function hasPlainClient(seed: number, gateway: GatewaySpec | undefined): boolean {
  return gateway !== undefined && seed % plainEvery === 3;
}

/** A client with one sequence over most of the time of the world. */
function drawPlainClient(seed: number, tags: number, untilMs: number): AppSpec {
  const random = randomFor(seed, "plain client");
  let atMs = 500 + 1000 * random.next();
  const steps: RequestSpec[] = [];
  for (let tag = tags + 1; atMs < 0.9 * untilMs; tag++) {
    steps.push({
      tag,
      atMs,
      model: "count",
      values: [drawWhole(random, 1, 999), drawWhole(random, 1, 999), drawWhole(random, 1, 999)],
      deadlineMs: 40_000,
      dataClass: "public",
      zones: undefined,
      leastTrust: "none",
      idempotencyKey: `plain-${tag}`,
    });
    atMs += 2500 * random.next();
  }
  return { name: "plain", models: [], reach: "gateway", requests: [], sequences: [{ steps }], plain: true };
}

function drawGateway(random: Random, untilMs: number): GatewaySpec {
  const joined = random.next() < 0.6;
  const startMs = Math.round(1000 + random.next() * untilMs * 0.5);
  return {
    name: gatewayName,
    zone: drawOne(random, zones),
    joined,
    signed: joined && random.next() < 0.5,
    leaseMs: random.next() < 0.5 ? 3000 : 15_000,
    rollout:
      random.next() < 0.3
        ? {
            startMs,
            endMs: Math.round(startMs + random.next() * untilMs * 0.5),
            how: random.next() < 0.5 ? "promote" : "abort",
          }
        : undefined,
  };
}

/** Machines that a fault may happen to. */
export function machinesOf({ servers, gateway, packages }: WorldSpec): readonly [string, ...string[]] {
  const [first, ...rest] = servers.map(({ name }) => name);
  return [
    first ?? gatewayName,
    ...rest,
    ...(gateway ? [gateway.name] : []),
    ...(packages === undefined ? [] : [packages]),
  ];
}

const weights: readonly (readonly [FaultKind, number])[] = [
  ["kill", 3],
  ["freeze", 2],
  ["drain", 2],
  ["slow", 2],
  ["wall-jump", 1],
  ["partition", 2],
  ["reset", 2],
  ["lose-request", 2],
  ["lose-reply", 2],
  ["cut-request", 1],
  ["cut-reply", 2],
  ["double-request", 1],
  ["late-reply", 1],
  ["flip-request", 2],
  ["flip-reply", 2],
  ["unheard-joins", 1],
  ["unread-directory", 1],
  ["power-cut", 2],
  ["disk-full", 1],
  ["unload", 1],
  ["replace-model", 1],
  ["swap-key", 1],
  ["entry-ends", 1],
];

/** Draws what goes wrong in a world. The gateway of a plain client restarts within its sequence, besides. */
export function drawFaults(spec: WorldSpec): readonly Fault[] {
  const { gateway, seed, untilMs } = spec;
  if (!gateway || !hasPlainClient(seed, gateway)) return drawUsualFaults(spec);
  const random = randomFor(seed, "restart of the gateway");
  const restart: Fault = {
    kind: random.next() < 0.6 ? "kill" : "drain",
    machine: gateway.name,
    atMs: Math.round((0.2 + 0.5 * random.next()) * untilMs),
    forMs: Math.round(100 + 2000 * random.next() ** 2),
    amount: 0,
    ratio: 1,
  };
  // In half of these worlds nothing else happens, so that the sequence must go on.
  return random.next() < 0.5 ? [restart] : [restart, ...drawUsualFaults(spec)];
}

function drawUsualFaults(spec: WorldSpec): readonly Fault[] {
  const random = randomFor(spec.seed, "faults");
  const total = weights.reduce((sum, [, weight]) => sum + weight, 0);
  return Array.from({ length: drawWhole(random, 1, 4) }, (): Fault => {
    let at = random.next() * total;
    const [kind] = weights.find(([, weight]) => (at -= weight) < 0) ?? ["kill" as const];
    const drawn = drawOne(random, machinesOf(spec));
    const ofDirectory = kind === "unheard-joins" || kind === "unread-directory" || kind === "swap-key";
    const machine = ofDirectory && spec.gateway ? spec.gateway.name : drawn;
    const atMs = Math.round(random.next() * spec.untilMs * 0.9);
    const forMs = Math.round((ofDirectory ? 500 : 100) * 100 ** random.next());
    const size = random.next();
    const ratio = random.next() < 0.5 ? 1 : Math.round(10 + 60 * random.next()) / 100;
    return { kind, machine, atMs, forMs, amount: amountOf(kind, size), ratio };
  });
}

function amountOf(kind: FaultKind, size: number): number {
  switch (kind) {
    case "slow":
      return Math.round(2 + 30 * size ** 2);
    case "wall-jump":
      return Math.round((size - 0.5) * 7_200_000);
    case "late-reply":
    case "double-request":
      return Math.round(20 + 3000 * size ** 2);
    default:
      return 0;
  }
}

/** Whether rules let a request be processed somewhere, under the standard policy. */
export function permitted(
  {
    dataClass,
    zones: asked,
    leastTrust,
  }: Pick<Rules, "dataClass" | "leastTrust"> & Pick<RequestSpec, "zones">,
  { zone, trust }: Pick<ServerSpec, "zone" | "trust">,
): boolean {
  if (zone === "device") return true;
  const order: readonly TrustLevel[] = ["none", "listed", "operated", "vouched"];
  const demanded: Readonly<Record<string, TrustLevel>> = {
    public: "listed",
    internal: "listed",
    personal: "operated",
  };
  const byClass = demanded[dataClass];
  if (byClass === undefined) return false;
  if (order.indexOf(trust) < Math.max(order.indexOf(byClass), order.indexOf(leastTrust))) return false;
  return !asked || asked.some((outer) => zone === outer || zone.startsWith(`${outer}/`));
}
