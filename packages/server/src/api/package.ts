import { type Call, LongshoreError, type WireBody, type WireResponse } from "@longshore/core";
import { binaryType, jsonType, type Route, writeWireError } from "@longshore/core/internal";
import { unknownModel } from "./find-model.ts";
import type { IncomingRequest, ServerState } from "./parts.ts";
import type { ShelvedPackage } from "./package-shelf.ts";

function unknownPackage(): LongshoreError {
  return new LongshoreError("unknown-model", "resolve", "there is no such package here");
}

/** The package of a digest, if the sender may see its model. */
async function seen(
  api: ServerState,
  digest: string,
  { identity, call }: IncomingRequest,
): Promise<ShelvedPackage> {
  const found = await api.models.packages?.ofDigest(digest, call);
  if (!found || identity.sees?.(found.model) === false) throw unknownPackage();
  return found;
}

/** `GET v2/models/{m}/package` and `GET v2/packages/{package}`: the signed manifest. */
export async function packageManifest(
  api: ServerState,
  route: Route & { kind: "package" },
  incoming: IncomingRequest,
): Promise<WireResponse> {
  const { model, package: digest } = route;
  const found =
    model === undefined
      ? await seen(api, digest ?? "", incoming)
      : await api.models.packages?.ofModel(model, incoming.call);
  if (!found) throw unknownModel(model ?? "");
  return {
    status: 200,
    headers: { "content-type": jsonType, etag: `"${found.digest}"` },
    body: { kind: "parts", parts: [found.manifest] },
  };
}

/** The first byte of a range; 0 for other kinds of ranges, which get the whole file (RFC 9110, 14.2). */
export function rangeStart({ request }: IncomingRequest): number {
  const [, from = "0"] = /^bytes=([0-9]{1,15})-$/.exec(request.headers["range"] ?? "") ?? [];
  return Number(from);
}

/** The reply to a range that starts beyond the file, with the file's length (RFC 9110, 15.5.17). */
function noSuchRange(bytes: number, fromByte: number, callId: string): WireResponse {
  const what = `the file has ${bytes} bytes, and ${fromByte} were left out`;
  const error = writeWireError(new LongshoreError("invalid-input", "admission", what), callId);
  const headers = { ...error.headers, "content-range": `bytes */${bytes}` };
  return { status: 416, headers, body: { kind: "parts", parts: [error.bytes] } };
}

/** The reply with a file from one byte on; 416 if there is no such byte. */
export function fileReply(
  digest: string,
  bytes: number,
  fromByte: number,
  body: WireBody,
  { id }: Call,
): WireResponse {
  if (fromByte > 0 && fromByte >= bytes) return noSuchRange(bytes, fromByte, id);
  const headers = { "content-type": binaryType, etag: `"${digest}"`, "accept-ranges": "bytes" };
  if (fromByte === 0) return { status: 200, headers, body };
  const range = { "content-range": `bytes ${fromByte}-${bytes - 1}/${bytes}` };
  return { status: 206, headers: { ...headers, ...range }, body };
}

/** `GET v2/packages/{package}/files/{file}`: a file by its digest, from `Range: bytes=N-` on. */
export async function packageFile(
  api: ServerState,
  route: Route & { kind: "package-file" },
  incoming: IncomingRequest,
): Promise<WireResponse> {
  const found = await seen(api, route.package, incoming);
  const from = rangeStart(incoming);
  const file = await api.models.packages?.open(found, route.file, from, incoming.call);
  if (!file) {
    const what = `package ${found.digest} has no file '${route.file.slice(0, 100)}'`;
    throw new LongshoreError("unknown-model", "resolve", what);
  }
  const byteLength = Math.max(0, file.bytes - from);
  const body: WireBody = { kind: "stream", byteLength, read: () => file.read() };
  return fileReply(route.file, file.bytes, from, body, incoming.call);
}
