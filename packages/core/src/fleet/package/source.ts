import { type Call, LongshoreError } from "../../words/base/index.ts";
import { chunksOf, readBody } from "../../wire/body/index.ts";
import { type Transport } from "../../wire/transport/index.ts";
import type { CutId } from "../../words/model/index.ts";
import { modelPath, readWireError } from "../../wire/protocol/index.ts";

/** Which package is wanted: the one of a model as it is now, or that of a digest. */
export type PackageReference = { readonly model: string } | { readonly digest: string };

/** Bytes of a file from some endpoint on. */
export interface FileBytes {
  /** Where they begin: what was asked for, or 0 where only whole files can be had. */
  readonly fromByte: number;
  read(): AsyncIterable<Uint8Array>;
}

/** Where packages come from. Nothing that it gives is believed before it was checked. */
export interface PackageSource {
  /** For messages. */
  readonly name: string;
  /** The signed manifest as JSON. Throws `unknown-model` when there is none. */
  manifest(wanted: PackageReference, call: Call): Promise<Uint8Array>;
  file(packageDigest: string, fileDigest: string, fromByte: number, call: Call): Promise<FileBytes>;
  /** The part of a graph from its begin to a cut as a file, from some byte on. Absent where only whole files can be had. */
  head?(wanted: HeadAddress, fromByte: number, call: Call): Promise<FileBytes>;
}

/** Where a server gives a head away. */
export interface HeadAddress {
  readonly model: string;
  readonly version: string;
  readonly variant: string;
  readonly to: CutId;
}

/** The most bytes of a manifest: 4096 files take a quarter of it. */
export const maxManifestBytes: number = 4 * 2 ** 20;

/** The packages of a server. Its transport must let replies be as long as files are. */
export function remotePackages(transport: Transport, name: string): PackageSource {
  const get = (path: string, headers: Readonly<Record<string, string>>, call: Call) =>
    transport.send({ method: "GET", path, headers, body: { kind: "parts", parts: [] } }, call);
  const content = async (path: string, fromByte: number, call: Call): Promise<FileBytes> => {
    const { status, headers, body } = await get(
      path,
      fromByte > 0 ? { range: `bytes=${fromByte}-` } : {},
      call,
    );
    if (status !== 200 && status !== 206) {
      throw readWireError(status, headers, await readBody(body, { maxBytes: maxManifestBytes }), name);
    }
    const [, began = "0"] = /^bytes ([0-9]{1,15})-/.exec(headers["content-range"] ?? "") ?? [];
    const start = status === 206 ? Number(began) : 0;
    if (start !== 0 && start !== fromByte) {
      throw new LongshoreError("bad-reply", "decode", `${name} sent another range than was asked for`);
    }
    return { fromByte: start, read: () => chunksOf(body) };
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
