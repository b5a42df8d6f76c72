import { onePart } from "../message/index.ts";
import type { ServerCall } from "./call.ts";
import { type GrpcStatus, ok } from "./status.ts";
import type { Method } from "./methods.ts";

/** Serves a call with a method. Throws what the method throws. */
export async function serveMethod(method: Method, served: ServerCall): Promise<GrpcStatus> {
  const { headers, peer, call, draining } = served;
  await method({
    headers,
    peer,
    call,
    draining,
    next: async () => (await served.next())?.read(),
    send: (message) => served.send(onePart(message)),
  });
  return ok;
}
