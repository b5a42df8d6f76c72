import { type Call, LongshoreError } from "../../words/base/index.ts";
import { chunksOf, readBody } from "../../wire/body/index.ts";
import type { Transport, WireResponse } from "../../wire/transport/index.ts";
import type { CutId } from "../../words/model/index.ts";
import { modelPath, readWireError } from "../../wire/protocol/index.ts";

/** The requested package: the current one of a model, or the one with a digest. */
export type PackageReference = { readonly model: string } | { readonly digest: string };

/** Bytes of a file from some offset on. */
export interface FileBytes {
  /** Offset of the first byte: the requested one, or 0 if the source has only whole files. */
  readonly fromByte: number;
  read(): AsyncIterable<Uint8Array>;
}

/** A source of packages. Its content is untrusted until it was checked. */
export interface PackageSource {
  /** Used in messages. */
  readonly name: string;
  /** The signed manifest as JSON. Throws `unknown-model` when there is none. */
  manifest(wanted: PackageReference, call: Call): Promise<Uint8Array>;
  file(packageDigest: string, fileDigest: string, fromByte: number, call: Call): Promise<FileBytes>;
  /** The part of a graph from its start to a cut as a file, from some byte on. Absent if the source has only whole files. */
  head?(wanted: HeadAddress, fromByte: number, call: Call): Promise<FileBytes>;
}

/** The address of a head at a server. */
export interface HeadAddress {
  readonly model: string;
  readonly version: string;
  readonly variant: string;
  readonly to: CutId;
}

/** Maximum size of a manifest in bytes: 4096 files take a quarter of it. */
export const maxManifestBytes: number = 4 * 2 ** 20;

/** The bytes of a file in a reply with status 200 or 206. Throws `bad-reply` for another range than the requested one. */
export function fileBytes(
  { status, headers, body }: WireResponse,
  fromByte: number,
  name: string,
): FileBytes {
  const [, began = "0"] = /^bytes ([0-9]{1,15})-/.exec(headers["content-range"] ?? "") ?? [];
  const start = status === 206 ? Number(began) : 0;
  if (start !== 0 && start !== fromByte) {
    throw new LongshoreError("bad-reply", "decode", `${name} sent another range than requested`);
  }
  return { fromByte: start, read: () => chunksOf(body) };
}

/** The packages of a server. Its transport must allow replies as long as files. */
export function remotePackages(transport: Transport, name: string): PackageSource {
  const get = (path: string, headers: Readonly<Record<string, string>>, call: Call) =>
    transport.send({ method: "GET", path, headers, body: { kind: "parts", parts: [] } }, call);
  const content = async (path: string, fromByte: number, call: Call): Promise<FileBytes> => {
    const reply = await get(path, fromByte > 0 ? { range: `bytes=${fromByte}-` } : {}, call);
    const { status, headers, body } = reply;
    if (status !== 200 && status !== 206) {
      throw readWireError(status, headers, await readBody(body, { maxBytes: maxManifestBytes }), name);
    }
    return fileBytes(reply, fromByte, name);
  };
  return {
    name,
    async manifest(wanted, call) {
      const path =
        "model" in wanted
          ? `${modelPath(wanted)}/package`
          : `/v2/packages/${encodeURIComponent(wanted.digest)}`;
      const reply = await get(path, {}, call);
      const bytes = await readBody(reply.body, { maxBytes: maxManifestBytes });
      if (reply.status !== 200) throw readWireError(reply.status, reply.headers, bytes, name);
      return bytes;
    },
    file: (packageDigest, fileDigest, fromByte, call) =>
      content(
        `/v2/packages/${encodeURIComponent(packageDigest)}/files/${encodeURIComponent(fileDigest)}`,
        fromByte,
        call,
      ),
    head: ({ to, ...address }, fromByte, call) =>
      content(`${modelPath(address)}/head/${encodeURIComponent(to)}`, fromByte, call),
  };
}
