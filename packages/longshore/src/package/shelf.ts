import { type Call, LongshoreError, type Signed } from "@longshore/core";
import {
  manifestDigest,
  manifestName,
  parseJson,
  signedManifestFrom,
  type PackageManifest,
} from "@longshore/core/internal";
import type { ModelStore } from "@longshore/engine";
import { sha256 } from "@longshore/nodejs";
import type { PackageShelf, ShelvedPackage } from "@longshore/server";

interface Shelved extends ShelvedPackage {
  readonly signed: Signed<PackageManifest>;
}

/** Digests whose model is remembered; a repository has fewer models. */
const maxKnown = 10_000;

/** The signed packages of a repository: those of its models that have a `package.json`. */
export function repositoryShelf(store: ModelStore): PackageShelf {
  const models = new Map<string, string>();

  async function ofModel(model: string): Promise<Shelved | undefined> {
    const manifest = await store.read(`${model}/${manifestName}`).catch((thrown: unknown) => {
      // A name that cannot be one of a folder is the name of no model.
      if (LongshoreError.is(thrown) && thrown.reason === "not-permitted") return undefined;
      throw thrown;
    });
    if (!manifest) return undefined;
    const signed = signedManifestFrom(parseJson(manifest, "the manifest"), "the manifest");
    if (signed.body.model !== model) return undefined;
    const digest = await manifestDigest(signed.body, sha256);
    if (models.size < maxKnown) models.set(digest, model);
    return { model, digest, manifest, signed };
  }

  async function ofDigest(digest: string): Promise<Shelved | undefined> {
    const known = models.get(digest);
    const found = known === undefined ? undefined : await ofModel(known);
    if (found?.digest === digest) return found;
    for (const { name, directory } of (await store.list("")) ?? []) {
      const other = directory ? await ofModel(name).catch(() => undefined) : undefined;
      if (other?.digest === digest) return other;
    }
    return undefined;
  }

  return {
    ofModel,
    ofDigest,
    async open(one, file, fromByte, _call: Call) {
      const found = (await ofModel(one.model))?.signed.body.files.find(({ digest }) => digest === file);
      if (!found) return undefined;
      const path = `${one.model}/${found.path}`;
      if (store.open) return store.open(path, fromByte);
      const bytes = await store.read(path);
      return bytes && { bytes: bytes.byteLength, read: () => once(bytes.subarray(fromByte)) };
    },
  };
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}
