import { access, chmod, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { type Call, LongshoreError, readBody, type Transport, type WireResponse } from "@longshore/core";
import {
  fileBytes,
  maxManifestBytes,
  type PackageReference,
  type PackageSource,
  packageSerial,
  parseJson,
  signedManifestFrom,
} from "@longshore/core/internal";
import { replaceFile } from "../file/index.ts";

/*
 * A folder of packages that any web server can serve: `models/<model>.json` and `packages/<hex>.json` are signed manifests, `files/<hex>` are files.
 * Names are digests without `sha256:`, since some file systems allow no colon.
 */

const hexOf = (digest: string): string => digest.replace(/^sha256:/, "");
const manifestPath = (wanted: PackageReference): string =>
  "model" in wanted ? `models/${wanted.model}.json` : `packages/${hexOf(wanted.digest)}.json`;
const filePath = (digest: string): string => `files/${hexOf(digest)}`;

/**
 * The packages in a folder that a web server serves. `transport` leads to the folder.
 *
 * @example
 * ```ts
 * import { folderPackages, httpTransport, systemClock } from "@longshore/nodejs";
 *
 * const transport = httpTransport({ address: "https://models.example", clock: systemClock() });
 * console.log(folderPackages(transport, "models.example").name); // models.example
 * await transport.close();
 * ```
 */
export function folderPackages(transport: Transport, name: string): PackageSource {
  const get = async (path: string, fromByte: number, call: Call): Promise<WireResponse> => {
    const reply = await transport.send(
      {
        method: "GET",
        path: `/${path}`,
        headers: fromByte > 0 ? { range: `bytes=${fromByte}-` } : {},
        body: { kind: "parts", parts: [] },
      },
      call,
    );
    if (reply.status === 200 || reply.status === 206) return reply;
    await readBody(reply.body, { maxBytes: maxManifestBytes });
    const isGone = reply.status === 404;
    const isRefused = reply.status === 401 || reply.status === 403;
    const reason = isGone ? "unknown-model" : isRefused ? "not-permitted" : "no-answer";
    throw new LongshoreError(reason, "transport", `${name} answers ${reply.status} for ${path}`);
  };
  return {
    name,
    async manifest(wanted, call) {
      const { body } = await get(manifestPath(wanted), 0, call);
      return readBody(body, { maxBytes: maxManifestBytes });
    },
    file: async (_packageDigest, digest, fromByte, call) =>
      fileBytes(await get(filePath(digest), fromByte, call), fromByte, name),
  };
}

/**
 * The serial of a model's package in such a folder on this disk; undefined if there is none.
 *
 * @example
 * ```ts
 * import { folderSerial } from "@longshore/nodejs";
 *
 * console.log(await folderSerial("packages", "ocr")); // undefined
 * ```
 */
export async function folderSerial(folder: string, model: string): Promise<number | undefined> {
  const bytes = await readFile(join(folder, manifestPath({ model }))).catch(() => undefined);
  if (!bytes) return undefined;
  return packageSerial(signedManifestFrom(parseJson(bytes, "the manifest"), "the manifest").body);
}

/**
 * Writes a signed package into such a folder on this disk: files that are not there yet, then the manifests.
 *
 * @param manifest The signed manifest as JSON, as `longshore package sign` writes it.
 * @param read The content of a file, by its path in the manifest; it must have the digest that the manifest says.
 * @returns how many files were written
 * @example
 * ```ts
 * import { sha256, writeFolderPackage } from "@longshore/nodejs";
 *
 * const unsigned = new TextEncoder().encode("{}");
 * const written = writeFolderPackage("web", await sha256(unsigned), unsigned, async () => new Uint8Array());
 * console.log(await written.catch(() => "not a signed manifest")); // not a signed manifest
 * ```
 */
export async function writeFolderPackage(
  folder: string,
  digest: string,
  manifest: Uint8Array,
  read: (path: string) => Promise<Uint8Array>,
): Promise<number> {
  const { body } = signedManifestFrom(parseJson(manifest, "the manifest"), "the manifest");
  const write = async (path: string, content: Uint8Array): Promise<void> => {
    await replaceFile(path, content);
    // The web server is another user.
    await chmod(path, 0o644);
  };
  for (const name of ["files", "packages", "models"]) await mkdir(join(folder, name), { recursive: true });
  let sent = 0;
  for (const file of body.files) {
    const path = join(folder, filePath(file.digest));
    const isThere = await access(path).then(
      () => true,
      () => false,
    );
    if (isThere) continue;
    await write(path, await read(file.path));
    sent++;
  }
  for (const wanted of [{ digest }, { model: body.model }]) {
    await write(join(folder, manifestPath(wanted)), manifest);
  }
  return sent;
}
