import {
  type Clock,
  emptyBody,
  LongshoreError,
  type Random,
  type Rules,
  type WireRequest,
} from "@longshore/core";
import {
  callFromHeaders,
  housekeepingCall,
  ownCall,
  randomId,
  type Route,
  writeWireError,
} from "@longshore/core/internal";
import {
  type CheckedRequest,
  type CheckResult,
  grpcMethodKind,
  type RequestChecker,
  statusOf,
} from "@longshore/grpc";
import {
  type Allowances,
  createGate,
  demandRight,
  holdsCredential,
  type Identify,
  type Identity,
} from "@longshore/server";

/** Inputs of `requestChecker`. */
export interface CheckerParts {
  readonly identify: Identify;
  /** The remaining allowances of tenants. Default: there are no limits. */
  readonly allowances?: Allowances;
  /** Credential of the proxy at its servers. It replaces the client's. Default: none. */
  readonly upstreamKey?: string;
  /** Rules of requests that state none. Default: they stay without. */
  readonly unstatedRules?: Rules;
  /** Requests outside the protocol need the right `infer`. Default false: they are refused. */
  readonly anyPath?: boolean;
  readonly clock: Clock;
  readonly random: Random;
}

const rulesHeader = "longshore-rules";
const tenantHeader = "longshore-tenant";
const rightsHeader = "longshore-rights";
const methods: readonly WireRequest["method"][] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"];
const inferences: ReadonlySet<Route["kind"]> = new Set<Route["kind"]>([
  "infer",
  "generate",
  "generate-stream",
]);

function isGrpc({ headers }: CheckedRequest): boolean {
  return headers["content-type"]?.startsWith("application/grpc") === true;
}

function denied(error: LongshoreError, request: CheckedRequest, id: string): CheckResult {
  const { code, message, trailers } = statusOf(error);
  const { status, headers, bytes } = writeWireError(error, id);
  if (!isGrpc(request)) {
    return { allowed: false, code, status, headers, body: new TextDecoder().decode(bytes) };
  }
  return {
    allowed: false,
    code,
    status,
    headers: { ...trailers, "grpc-status": String(code) },
    body: message,
  };
}

/** Whether a request counts against limits. Throws for what its sender may not do. */
type Admit = (request: CheckedRequest, wire: WireRequest, identity: Identity) => boolean;

/** Probes, which have no credentials and learn one bit. */
const probes: ReadonlySet<string> = new Set([
  "/grpc.health.v1.Health/Check",
  "/inference.GRPCInferenceService/ServerLive",
  "/inference.GRPCInferenceService/ServerReady",
]);

/** A method of gRPC does not name its model, and a header could name another one than the message. */
function admitGrpc({ path }: CheckedRequest, identity: Identity): boolean {
  if (probes.has(path)) return false;
  const kind = grpcMethodKind(path);
  demandRight(identity, "infer");
  if (identity.sees && kind !== "about-server") {
    const why =
      "this tenant has a list of models, and a call over gRPC does not show its model here; use HTTP";
    throw new LongshoreError("not-permitted", "identify", why);
  }
  return kind === "infer";
}

function admitting(anyPath: boolean): Admit {
  const gate = createGate();
  return (request, wire, identity) => {
    if (isGrpc(request) && !anyPath) return admitGrpc(request, identity);
    try {
      return inferences.has(gate(identity, wire).route.kind);
    } catch (thrown) {
      const isOther = LongshoreError.is(thrown) && ["unknown-route", "wrong-method"].includes(thrown.reason);
      if (!anyPath || !isOther) throw thrown;
      demandRight(identity, "infer");
      if (identity.sees) {
        const why = "this tenant has a list of models, and this path names none";
        throw new LongshoreError("not-permitted", "identify", why);
      }
      return true;
    }
  };
}

/**
 * Checks requests for a proxy as a server checks its own: identity, rights, limits, and rules that can be read. A request that goes on carries
 * its tenant and rights, and no credential of its client.
 */
export function requestChecker(parts: CheckerParts): RequestChecker {
  const { identify, allowances, upstreamKey, unstatedRules, anyPath = false, clock, random } = parts;
  const admit = admitting(anyPath);

  const take = async (tenant: string, bytes: number): Promise<void> => {
    for (const [meter, amount] of [
      ["requests", 1],
      ["bytes", bytes],
    ] as const) {
      const taken = await allowances?.take(tenant, meter, amount);
      if (taken?.taken !== false) continue;
      const { why, retryAfterMs } = taken;
      const message = `tenant ${tenant} is at ${why}`;
      throw new LongshoreError("tenant-limit", "admission", message, { retryAfterMs });
    }
  };

  const checked = async (request: CheckedRequest, id: string): Promise<CheckResult> => {
    const { path, headers, source } = request;
    const method = methods.find((one) => one === request.method);
    if (method === undefined) {
      throw new LongshoreError("wrong-method", "admission", "this method is not part of the protocol");
    }
    // A client on the machine of its proxy is not on this one.
    const peer = { address: source, loopback: false };
    const wire: WireRequest = { method, path, headers, body: emptyBody, peer };
    const identity = await identify(wire);
    const isMetered = admit(request, wire, identity);
    const base = ownCall(housekeepingCall(id));
    callFromHeaders(headers, base, clock.nowMs(), unstatedRules);
    const length = headers["content-length"] ?? "";
    if (isMetered) await take(identity.tenant, /^[0-9]{1,15}$/.test(length) ? Number(length) : 0);
    const rules =
      unstatedRules && headers[rulesHeader] === undefined
        ? {
            [rulesHeader]: `class=${encodeURIComponent(unstatedRules.dataClass)};trust=${unstatedRules.leastTrust}`,
          }
        : {};
    return {
      allowed: true,
      headers: {
        [tenantHeader]: identity.tenant,
        [rightsHeader]: [...identity.rights].join(","),
        ...rules,
        ...(upstreamKey === undefined ? {} : { authorization: `Bearer ${upstreamKey}` }),
      },
      removed: Object.keys(headers).filter(
        (name) => holdsCredential(name) && !(name === "authorization" && upstreamKey !== undefined),
      ),
    };
  };

  return {
    async check(request) {
      const id = request.id === "" ? randomId(random) : request.id;
      try {
        return await checked(request, id);
      } catch (thrown) {
        return denied(LongshoreError.from(thrown, "identify", "checking the request"), request, id);
      }
    },
  };
}
