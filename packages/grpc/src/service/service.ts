import { LongshoreError } from "@longshore/core";
import { demandSomebody, failureOf, type ServerCall, type ServiceParts } from "./call.ts";
import type { ControlMethod } from "./control.ts";
import { modelInfer } from "./infer.ts";
import { serveMethod } from "./serve-method.ts";
import { type GrpcStatus, statusOf } from "./status.ts";
import { modelStreamInfer } from "./stream-infer.ts";

/** Methods of a service. */
type Methods = Readonly<Record<string, ControlMethod>>;

const inferMethods: Methods = { ModelInfer: modelInfer, ModelStreamInfer: modelStreamInfer };

/**
 * Methods that need the protocol's message descriptors. The first call of one imports them: they take a tenth of a server's time to start,
 * and inference reads its messages without them.
 */
const describedMethods: Readonly<Record<string, () => Promise<Methods>>> = {
  "inference.GRPCInferenceService": async () => (await import("./control.ts")).controlMethods,
  "grpc.health.v1.Health": async () => (await import("./health.ts")).healthMethods,
};

async function methodOf(path: string): Promise<ControlMethod | undefined> {
  const [root, service = "", name = "", ...more] = path.split("/");
  if (root !== "" || more.length > 0 || !Object.hasOwn(describedMethods, service)) return undefined;
  if (service === "inference.GRPCInferenceService" && Object.hasOwn(inferMethods, name))
    return inferMethods[name];
  const methods = await describedMethods[service]?.();
  return methods && Object.hasOwn(methods, name) ? methods[name] : undefined;
}

/** A sender without identity is not told which methods exist. */
const noMethod: ControlMethod = async (parts, served) => {
  await demandSomebody(parts, served);
  throw new LongshoreError("unsupported", "admission", "there is no such method here");
};

/** Methods that a service besides inference lacks, such as those of later versions. Such services have no identity. */
function demandMethod(path: string, methods: ServiceParts["methods"]): void {
  const service = path.slice(0, path.lastIndexOf("/") + 1);
  if (!methods || methods.size === 0 || service.length < 2) return;
  for (const known of methods.keys()) {
    if (known.startsWith(service)) {
      throw new LongshoreError("unsupported", "admission", "there is no such method here");
    }
  }
}

/** Serves calls. Never rejects: a failure is a status. */
export type Service = (served: ServerCall) => Promise<GrpcStatus>;

/**
 * The service `inference.GRPCInferenceService` of the Open Inference Protocol with Triton's extensions, and gRPC's health
 * checks, over a handler and without sockets.
 */
export function createService(parts: ServiceParts): Service {
  return async (served) => {
    try {
      const other = parts.methods?.get(served.path);
      if (other) return await serveMethod(other, served);
      demandMethod(served.path, parts.methods);
      const method = (await methodOf(served.path)) ?? noMethod;
      return await method(parts, served);
    } catch (thrown) {
      return statusOf(failureOf(parts, thrown, served.call, "answering the call"));
    }
  };
}
