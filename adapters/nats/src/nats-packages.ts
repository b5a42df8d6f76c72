import {
  type Digest,
  type FileBytes,
  LongshoreError,
  maxManifestBytes,
  type PackageReference,
  type PackageSource,
  signedManifestFrom,
  parseJson,
} from "@longshore/core";
import { Objm, type ObjectStore } from "@nats-io/obj";
import type { NatsConnection } from "@nats-io/transport-node";

/** The bucket of packages, where nobody names another. */
export const packagesBucket = "longshore-packages";

/** Makes the object store of packages where it is missing. */
export async function makePackages(
  connection: NatsConnection,
  options: { readonly bucket?: string; readonly replicas?: number } = {},
): Promise<ObjectStore> {
  const { bucket = packagesBucket, replicas = 1 } = options;
  return new Objm(connection).create(bucket, { replicas });
}

const fileName = (digest: Digest): string => `file/${digest}`;
const manifestNameOf = (wanted: PackageReference): string =>
  "model" in wanted ? `model/${wanted.model}` : `package/${wanted.digest}`;

/**
 * Puts a package into the store: its files first, each once, then the manifest under its digest and as the one of its model.
 *
 * @param manifest The signed manifest as JSON, as `longshore package sign` writes it.
 * @param read The content of a file, by its path in the manifest.
 */
export async function publishPackage(
  packages: ObjectStore,
  digest: Digest,
  manifest: Uint8Array,
  read: (path: string) => Promise<Uint8Array>,
): Promise<void> {
  const { body } = signedManifestFrom(parseJson(manifest, "the manifest"), "the manifest");
  for (const file of body.files) {
    const name = fileName(file.digest);
    if ((await packages.info(name)) !== null) continue;
    await packages.putBlob({ name }, await read(file.path));
  }
  await packages.putBlob({ name: manifestNameOf({ digest }) }, manifest);
  await packages.putBlob({ name: manifestNameOf({ model: body.model }) }, manifest);
}

async function* after(stream: ReadableStream<Uint8Array>, skipBytes: number): AsyncIterable<Uint8Array> {
  const reader = stream.getReader();
  let left = skipBytes;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      const rest = value.subarray(Math.min(left, value.byteLength));
      left -= value.byteLength - rest.byteLength;
      if (rest.byteLength > 0) yield rest;
    }
  } finally {
    await reader.cancel();
  }
}

function missing(what: string, bucket: string): LongshoreError {
  return new LongshoreError("unknown-model", "resolve", `there is no ${what} in ${bucket}`);
}

/** The packages in an object store. What was fetched before a break is read again from the server and dropped here. */
export function natsPackages(packages: ObjectStore, bucket: string = packagesBucket): PackageSource {
  const name = `nats ${bucket}`;
  const failed = (thrown: unknown): LongshoreError => {
    if (LongshoreError.is(thrown)) return thrown;
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    return new LongshoreError("no-answer", "transport", `${name} did not answer: ${why}`, { cause: thrown });
  };
  return {
    name,
    async manifest(wanted) {
      const key = manifestNameOf(wanted);
      const info = await packages.info(key).catch((thrown: unknown) => {
        throw failed(thrown);
      });
      if (info && info.size > maxManifestBytes) {
        throw new LongshoreError("bad-reply", "decode", `the manifest in ${bucket} has ${info.size} bytes`);
      }
      const bytes = info ? await packages.getBlob(key) : null;
      if (!bytes)
        throw missing(`package ${"model" in wanted ? `of ${wanted.model}` : wanted.digest}`, bucket);
      return bytes;
    },
    async file(_packageDigest, digest, fromByte): Promise<FileBytes> {
      const found = await packages.get(fileName(digest)).catch((thrown: unknown) => {
        throw failed(thrown);
      });
      if (!found) throw missing(`file ${digest}`, bucket);
      return { fromByte, read: () => after(found.data, fromByte) };
    },
  };
}
