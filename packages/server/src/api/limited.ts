import { LongshoreError, type WireResponse } from "@longshore/core";
import { bodyLength, type Route } from "@longshore/core/internal";
import { untilSent } from "./infer/index.ts";
import type { Api, IncomingRequest } from "./parts.ts";

/** The model of a request that counts against the limits of its tenant; undefined for one that does not. */
function meteredModel(route: Route): string | undefined {
  switch (route.kind) {
    case "infer":
    case "generate":
    case "generate-stream":
      return route.model;
    default:
      return undefined;
  }
}

/**
 * Answers a request within the limits of its tenant, which are held before anything of its body is read and until the reply is sent. Throws
 * `tenant-limit`.
 */
export async function limited(
  api: Api,
  route: Route,
  incoming: IncomingRequest,
  answer: (api: Api, route: Route, incoming: IncomingRequest) => WireResponse | Promise<WireResponse>,
): Promise<WireResponse> {
  const { quotas } = api.limits;
  const model = meteredModel(route);
  if (!quotas || model === undefined) return answer(api, route, incoming);
  const { call: before, request } = incoming;
  const entered = await quotas.enter(before, model, bodyLength(request.body) ?? 0);
  let streams = false;
  try {
    const reply = await answer(api, route, { ...incoming, call: entered.call });
    streams = reply.body.kind === "stream";
    return untilSent(reply, before, entered);
  } catch (thrown) {
    throw LongshoreError.is(thrown) ? entered.failed(thrown) : thrown;
  } finally {
    if (!streams) entered[Symbol.dispose]();
  }
}
