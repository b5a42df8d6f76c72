/**
 * Failed runs by endpoint and version of a model. Examples are a broken file, a version that does not fit the accelerator, a bad canary.
 * The server that reports such a failure is healthy, and its other models run as well as before. A proxy that counts 5xx replies against
 * the whole endpoint takes all of its models away for the fault of one.
 *
 * So a failure that the endpoint itself attributes to a run counts against that version there. Its pause doubles and its charge fades as
 * those of an endpoint do. A failure that the endpoint does not report (it is unreachable, silent, or answers nonsense) counts against the
 * whole endpoint.
 *
 * An endpoint that knows the tenant of each request (`Endpoint.forwardsTenants`) limits each tenant, and refuses a flood from one while it
 * serves the others. Its refusals for load pause it for that tenant only. A foreign server refuses for one model: Triton's queues belong to
 * a model, and KServe answers so for a model that is not ready. Such refusals pause it for that version only.
 *
 * Invariant: at most half of the endpoints that would answer are paused for the runs of one version. If more of them fail, the requests or
 * the model are the more likely cause, and pausing all would turn some failures into nothing but failures.
 */
import {
  dropOldest,
  type EndpointId,
  type LongshoreError,
  type Random,
  type Reason,
} from "../../words/base/index.ts";
import type { ModelDescription, Segment } from "../../words/model/index.ts";
import { type EndpointTable, withFailing } from "../../decide/table/index.ts";
import type { EndpointState } from "./endpoint-state.ts";
import { overloaded, type EndpointHealth, endpointHealth } from "./endpoint-health.ts";

/** The version that was run. */
export type ServedVersion = Pick<Segment, "model" | "version" | "digest">;

/** The version that is described. */
export function ranOf({ name, version, digest }: ModelDescription): ServedVersion {
  return { model: name, version, digest };
}

/** Paused endpoints, and why. */
type Out = ReadonlyMap<EndpointId, string>;

/** Failures and refusals at endpoints, by version and tenant. */
export interface RunFailures {
  /** Whether nothing failed or was refused lately, as almost always. */
  readonly none: boolean;
  /**
   * Returns whether a failure belongs to the version or the tenant. Then it is recorded here, if the version is known, and must not count
   * against the endpoint.
   */
  failed(
    endpoint: EndpointState,
    error: LongshoreError,
    nowMs: number,
    of?: ServedVersion,
    tenant?: string,
  ): boolean;
  /** It ran there. */
  answered(of: ServedVersion, endpoint: EndpointId, nowMs: number): void;
  /** When the pause of the version there ends, for all tenants or for that one; -Infinity without a pause. */
  pausedUntilMs(of: ServedVersion, endpoint: EndpointId, tenant?: string): number;
  /** Health of its runs there; undefined if none failed recently. */
  at(of: ServedVersion, endpoint: EndpointId): EndpointHealth | undefined;
  /** Endpoints that get no requests of the tenant for it now, among those that could. Almost always empty. */
  out(of: ServedVersion, tenant: string, among: ReadonlyMap<EndpointId, unknown>, nowMs: number): Out;
  /** The table as a decision about that version reads it. */
  charged(table: EndpointTable, of: ServedVersion, out: Out, nowMs: number): EndpointTable;
  /** An endpoint is gone. */
  forget(endpoint: EndpointId): void;
}

/** Reasons with which an endpoint reports a failed run. A report shows that the endpoint is reachable. */
const ofRuns: ReadonlySet<Reason> = new Set<Reason>(["run-failed", "run-deadline", "runtime-crashed"]);
/** Reasons with which an endpoint that knows tenants refuses one of them. Lack of memory affects all tenants. */
const ofTenants: ReadonlySet<Reason> = new Set<Reason>(["queue-full", "evicted", "rejected"]);
/** Versions that fail somewhere at the same time, or tenants that are refused; the oldest is forgotten first. */
const maxKept = 256;

const none: Out = new Map();

type Kept = Map<string, Map<EndpointId, EndpointHealth>>;

/** Starts with nothing that failed. */
export function runFailures(endpoints: ReadonlyMap<EndpointId, EndpointState>, random: Random): RunFailures {
  const byVersion: Kept = new Map();
  /** Refusals for load, by tenant and by version. */
  const refused: Kept = new Map();
  const keyOf = ({ model, version, digest }: ServedVersion): string =>
    JSON.stringify([model, version, digest]);
  const found = (of: ServedVersion): Map<EndpointId, EndpointHealth> | undefined =>
    byVersion.size === 0 ? undefined : byVersion.get(keyOf(of));

  function note(kept: Kept, key: string, id: EndpointId, error: LongshoreError, nowMs: number): true {
    const byEndpoint = kept.get(key) ?? new Map<EndpointId, EndpointHealth>();
    kept.set(key, byEndpoint);
    dropOldest(kept, maxKept);
    const health = byEndpoint.get(id) ?? endpointHealth(random);
    byEndpoint.set(id, health);
    health.failed(error, nowMs);
    return true;
  }

  function refusing(of: ServedVersion, tenant: string, nowMs: number): Out {
    if (refused.size === 0) return none;
    const out = new Map<EndpointId, string>();
    const version = keyOf(of);
    for (const key of [tenantKey(tenant), version]) {
      const byEndpoint = refused.get(key);
      for (const [id, health] of byEndpoint ?? []) {
        const why = health.unavailable(nowMs);
        if (why === undefined) byEndpoint?.delete(id);
        else out.set(id, key === version ? whyOf(of, health, nowMs) : why);
      }
      if (byEndpoint?.size === 0) refused.delete(key);
    }
    return out;
  }

  return {
    get none() {
      return byVersion.size === 0 && refused.size === 0;
    },
    failed({ endpoint: { info, capabilities } }, error, nowMs, of, tenant) {
      if (of && ofRuns.has(error.reason)) return note(byVersion, keyOf(of), info.id, error, nowMs);
      if (!info.offers && overloaded.has(error.reason))
        return of === undefined || note(refused, keyOf(of), info.id, error, nowMs);
      if (tenant === undefined || capabilities.forwardsTenants !== true || !ofTenants.has(error.reason))
        return false;
      return note(refused, tenantKey(tenant), info.id, error, nowMs);
    },
    answered(of, endpoint, nowMs) {
      const byEndpoint = found(of);
      const health = byEndpoint?.get(endpoint);
      if (!byEndpoint || !health) return;
      health.succeeded(nowMs);
      if (health.penaltyMs(nowMs) > 0) return;
      byEndpoint.delete(endpoint);
      if (byEndpoint.size === 0) byVersion.delete(keyOf(of));
    },
    pausedUntilMs(of, endpoint, tenant) {
      const keys = tenant === undefined ? [keyOf(of)] : [keyOf(of), tenantKey(tenant)];
      const refusals = keys.map((key) => refused.get(key)?.get(endpoint));
      const all = [found(of)?.get(endpoint), ...refusals];
      return Math.max(...all.map((health) => health?.pausedUntilMs ?? -Infinity));
    },
    at: (of, endpoint) => found(of)?.get(endpoint),
    out(of, tenant, among, nowMs) {
      const loaded = refusing(of, tenant, nowMs);
      const byEndpoint = found(of);
      if (!byEndpoint) return loaded;
      const answers = (id: EndpointId): boolean => {
        const endpoint = among.has(id) && !loaded.has(id) ? endpoints.get(id) : undefined;
        return endpoint !== undefined && endpoint.health.unavailable(nowMs) === undefined;
      };
      const paused = [...byEndpoint].filter(([id, health]) => nowMs < health.pausedUntilMs && answers(id));
      if (paused.length === 0) return loaded;
      let answering = 0;
      for (const id of among.keys()) {
        // At least twice as many answer as are paused, so the rest need not be counted.
        if (answering >= 2 * paused.length) break;
        if (answers(id)) answering++;
      }
      paused.sort(([, one], [, other]) => other.pausedUntilMs - one.pausedUntilMs);
      const most = Math.floor(answering / 2);
      const out = new Map(loaded);
      for (const [id, health] of paused.slice(0, most)) out.set(id, whyOf(of, health, nowMs));
      return out;
    },
    charged(table, of, out, nowMs) {
      const byEndpoint = found(of);
      if (!byEndpoint && out.size === 0) return table;
      return withFailing(
        table,
        Array.from(new Set([...out.keys(), ...(byEndpoint?.keys() ?? [])]), (id) => ({
          id,
          penaltyMs: byEndpoint?.get(id)?.penaltyMs(nowMs) ?? 0,
          unavailable: out.get(id),
        })),
      );
    },
    forget(endpoint) {
      for (const kept of [byVersion, refused]) {
        for (const [key, byEndpoint] of kept)
          if (byEndpoint.delete(endpoint) && byEndpoint.size === 0) kept.delete(key);
      }
    },
  };
}

function tenantKey(tenant: string): string {
  return JSON.stringify([tenant]);
}

function whyOf({ model, version }: ServedVersion, health: EndpointHealth, nowMs: number): string {
  return `of version ${version} of ${model}: ${health.unavailable(nowMs) ?? ""}`;
}
