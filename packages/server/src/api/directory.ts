import { LongshoreError, type WireResponse } from "@longshore/core";
import type { Api, IncomingRequest } from "./parts.ts";
import { doneReply, jsonReply, requestObject } from "./replies.ts";

/** The most bytes of an endpoint's description of itself, with its operator's entry. */
const maxJoinBytes = 2 ** 20;
/** The most JSON values of such a description. */
const maxJoinValues = 16_384;

/** `GET v2/directory`, `POST v2/directory/join`, `/leave` and `/lease`, if this server keeps a directory or limits. */
export async function directory(
  api: Api,
  kind: "directory" | "directory-join" | "directory-leave" | "directory-lease",
  incoming: IncomingRequest,
): Promise<WireResponse> {
  if (kind === "directory-lease") {
    const { leases } = api.limits;
    if (!leases) throw new LongshoreError("unknown-route", "admission", "this server leases no limits");
    return jsonReply(leases.lease(await requestObject(incoming)));
  }
  const desk = api.directory;
  if (!desk) throw new LongshoreError("unknown-route", "admission", "this server keeps no directory");
  if (kind === "directory") return jsonReply(desk.list(incoming.query.get("since") ?? undefined));
  const { tenant } = incoming.identity;
  const request = await requestObject(incoming, maxJoinBytes, maxJoinValues);
  if (kind === "directory-join") return jsonReply(await desk.join(request, tenant));
  desk.leave(request, tenant);
  return doneReply;
}
