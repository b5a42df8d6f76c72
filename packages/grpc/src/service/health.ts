import { create, toBinary } from "@bufbuild/protobuf";
import { emptyBody, LongshoreError } from "@longshore/core";
import { sleep } from "@longshore/core/internal";
import { onePart, type Parts } from "../message/index.ts";
import {
  HealthCheckRequestSchema,
  HealthCheckResponse_ServingStatus as Status,
  HealthCheckResponseSchema,
} from "../proto/health_pb.ts";
import { ask, type ServerCall, type ServiceParts } from "./call.ts";
import { decode, type ControlMethod } from "./control.ts";
import { errorOf, ok, statusOf } from "./status.ts";

const readyPath = "/v2/health/ready";

/** Health paths by service name: the whole server and the inference service share one. `healthNames` of a listener adds others. */
const own: ReadonlyMap<string, string> = new Map([
  ["", readyPath],
  ["inference.GRPCInferenceService", readyPath],
]);

/** The path that tells how a service is; undefined for one that is not served. */
function pathOf({ healthNames }: ServiceParts, service: string): string | undefined {
  return own.get(service) ?? healthNames?.get(service);
}

function reply(status: Status): Parts {
  return onePart(toBinary(HealthCheckResponseSchema, create(HealthCheckResponseSchema, { status })));
}

async function askedService(served: ServerCall): Promise<string> {
  const frame = await served.next();
  if (!frame) throw new LongshoreError("invalid-input", "decode", "the call ended without a message");
  return decode(HealthCheckRequestSchema, await frame.read()).service;
}

async function currentStatus(parts: ServiceParts, served: ServerCall, path: string): Promise<Status> {
  // A server that drains is alive still.
  if (served.draining.aborted && path === readyPath) return Status.NOT_SERVING;
  const response = await ask(parts, served, { method: "GET", path, body: emptyBody });
  if (response.status === 200) return Status.SERVING;
  const error = await errorOf(response);
  if (error.reason !== "rejected" && error.reason !== "shutting-down") throw error;
  return Status.NOT_SERVING;
}

const check: ControlMethod = async (parts, served) => {
  const service = await askedService(served);
  const path = pathOf(parts, service);
  if (path === undefined) {
    // The protocol of health checks demands NOT_FOUND.
    return statusOf(new LongshoreError("unknown-route", "admission", "no such service is served here"));
  }
  await served.send(reply(await currentStatus(parts, served, path)));
  return ok;
};

/** Tells the status at once, and each time that it changes, until the client goes or the server drains. */
const watch: ControlMethod = async (parts, served) => {
  const service = await askedService(served);
  const { draining, call } = served;
  const path = pathOf(parts, service);
  using waiting = endOfEither(draining, call.abort);
  let last: Status | undefined;
  for (;;) {
    // An unknown service may become known later, so the protocol keeps the call open.
    const status = path === undefined ? Status.SERVICE_UNKNOWN : await currentStatus(parts, served, path);
    if (status !== last) await served.send(reply(status));
    last = status;
    if (call.abort.aborted) return ok;
    if (draining.aborted) {
      return statusOf(
        new LongshoreError(
          "shutting-down",
          "admission",
          "the server is shutting down; send the request to another one",
        ),
      );
    }
    await sleep(parts.clock, parts.watchIntervalMs, waiting.abort).catch(() => undefined);
  }
};

function endOfEither(a: AbortSignal, b: AbortSignal): { readonly abort: AbortSignal } & Disposable {
  const either = new AbortController();
  const end = (): void => either.abort(new LongshoreError("cancelled", "transport", "the wait is over"));
  for (const one of [a, b]) {
    if (one.aborted) end();
    else one.addEventListener("abort", end, { once: true });
  }
  return {
    abort: either.signal,
    [Symbol.dispose]() {
      for (const one of [a, b]) one.removeEventListener("abort", end);
    },
  };
}

/** The methods by name. */
export const healthMethods: Readonly<Record<string, ControlMethod>> = { Check: check, Watch: watch };
