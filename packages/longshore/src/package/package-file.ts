import { basename } from "node:path";
import { type KeyRing, LongshoreError } from "@longshore/core";
import {
  believeManifest,
  type BelievedManifest,
  manifestFrom,
  manifestName,
  type PackageFile,
  type PackageManifest,
  packageSerial,
  parseJson,
  signedManifestFrom,
} from "@longshore/core/internal";
import type { ModelStore } from "@longshore/engine";
import { sha256 } from "@longshore/nodejs";

/** All files of a model, in the order of their paths; names that begin with a dot are not part of it. */
async function* filesOf(store: ModelStore, model: string, inner = ""): AsyncIterable<PackageFile> {
  const entries = (await store.list(`${model}${inner === "" ? "" : `/${inner}`}`)) ?? [];
  for (const { name, directory } of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = inner === "" ? name : `${inner}/${name}`;
    if (name.startsWith(".") || path === manifestName) continue;
    if (directory) {
      yield* filesOf(store, model, path);
      continue;
    }
    const bytes = await store.read(`${model}/${path}`);
    if (bytes) yield { path, bytes: bytes.byteLength, digest: await sha256(bytes) };
  }
}

/** The present content of a model in a repository. Throws `unknown-model`, and `invalid-model` for names that cannot travel. */
export async function manifestOf(
  store: ModelStore,
  model: string,
  { serial, notAfterMs }: Pick<PackageManifest, "notAfterMs"> & { readonly serial: number },
): Promise<PackageManifest> {
  const files: PackageFile[] = [];
  for await (const file of filesOf(store, model)) files.push(file);
  if (files.length === 0) {
    throw new LongshoreError(
      "unknown-model",
      "resolve",
      `there are no files of a model '${basename(model)}' here`,
    );
  }
  try {
    const end = notAfterMs === undefined ? {} : { notAfterMs };
    return manifestFrom({ schemaVersion: 2, model, serial, ...end, files }, "the package");
  } catch (thrown) {
    const { message } = LongshoreError.from(thrown, "resolve", "listing a package");
    throw new LongshoreError("invalid-model", "resolve", message, { cause: thrown });
  }
}

/**
 * The serial for a model that is signed now: the time in seconds, which goes up also where a folder is new each time, or one more than that of the
 * package that it replaces. Throws `invalid-input` for a serial that is not after that one, and for a `package.json` that is no manifest.
 */
export async function nextSerial(
  store: ModelStore,
  model: string,
  wallMs: number,
  wanted?: number,
): Promise<number> {
  const bytes = await store.read(`${model}/${manifestName}`);
  let before = 0;
  try {
    const signed = bytes && signedManifestFrom(parseJson(bytes, manifestName), manifestName);
    before = signed ? packageSerial(signed.body) : 0;
  } catch (thrown) {
    const { message } = LongshoreError.from(thrown, "resolve", "reading the package before");
    if (wanted === undefined) {
      const what = `${model} has a ${manifestName} that is not the manifest of a package (${message}): move it away, or say which serial comes next with --serial`;
      throw new LongshoreError("invalid-input", "resolve", what, { cause: thrown });
    }
  }
  if (wanted === undefined) return Math.max(before + 1, Math.floor(wallMs / 1000), 1);
  if (wanted > before) return wanted;
  throw new LongshoreError(
    "invalid-input",
    "resolve",
    `--serial ${wanted} is not after ${before}, which the package of ${model} has now: endpoints that installed that one would refuse it`,
  );
}

/** The signed manifest of a model, and which of its files are not as it says. */
export async function checkPackage(
  store: ModelStore,
  model: string,
  ring: KeyRing,
): Promise<{ readonly believed: BelievedManifest; readonly wrong: readonly string[] }> {
  const bytes = await store.read(`${model}/${manifestName}`);
  if (!bytes) {
    throw new LongshoreError("invalid-model", "resolve", `${model} has no ${manifestName}: sign it first`);
  }
  const believed = await believeManifest(bytes, { ring, hash: sha256 });
  const now = new Map<string, string>();
  for await (const { path, digest } of filesOf(store, model)) now.set(path, digest);
  const named = new Set(believed.manifest.files.map(({ path }) => path));
  const wrong = [
    ...believed.manifest.files
      .filter(({ path, digest }) => now.get(path) !== digest)
      .map(({ path }) => (now.has(path) ? `${path} has another content` : `${path} is missing`)),
    ...[...now.keys()].filter((path) => !named.has(path)).map((path) => `${path} is not in the manifest`),
  ];
  return { believed, wrong };
}
