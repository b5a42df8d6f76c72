import { LongshoreError } from "@longshore/core";
import { demandSomebody, failureOf, type ServerCall, type ServiceParts } from "./call.ts";
import { controlMethods, type ControlMethod } from "./control.ts";
import { healthMethods } from "./health.ts";
import { modelInfer } from "./infer.ts";
import { serveMethod } from "./serve-method.ts";
import { type GrpcStatus, statusOf } from "./status.ts";
import { modelStreamInfer } from "./stream-infer.ts";

const services: Readonly<Record<string, Readonly<Record<string, ControlMethod>>>> = {
  "inference.GRPCInferenceService": {
    ...controlMethods,
    ModelInfer: modelInfer,
    ModelStreamInfer: modelStreamInfer,
  },
  "grpc.health.v1.Health": healthMethods,
};

function methodOf(path: string): ControlMethod | undefined {
  const [root, service = "", name = "", ...more] = path.split("/");
  const methods = root === "" && Object.hasOwn(services, service) ? services[service] : undefined;
  return methods && more.length === 0 && Object.hasOwn(methods, name) ? methods[name] : undefined;
}

/** A sender without identity is not told which methods exist. */
const noMethod: ControlMethod = async (parts, served) => {
  await demandSomebody(parts, served);
  throw new LongshoreError("unsupported", "admission", "there is no such method here");
};

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
      const method = methodOf(served.path) ?? noMethod;
      return await method(parts, served);
    } catch (thrown) {
      return statusOf(failureOf(parts, thrown, served.call, "answering the call"));
    }
  };
}
