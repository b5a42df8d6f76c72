import { type Json, LongshoreError } from "../../words/base/index.ts";
import { digestFrom, exactly, parseJson, read, type Reader, shaped } from "../../wire/protocol/index.ts";
import { canonicalJson, checkSignature, type KeyRing, type Signed, signatureFrom } from "../signed/index.ts";

/** One file of a package. */
export interface PackageFile {
  /** Inside the model's folder, parts between `/`: `2/model.onnx`. */
  readonly path: string;
  readonly bytes: number;
  /** SHA-256 of the content. */
  readonly digest: string;
}

/**
 * What a model consists of: everything in its folder, known by content. Its own digest, the SHA-256 of its canonical JSON,
 * names the package.
 */
export interface PackageManifest {
  /** 1 has neither serial nor end. */
  readonly schemaVersion: 1 | 2;
  readonly model: string;
  /** Of schema version 2: 1 or more, higher in each package of the model than in those signed before. */
  readonly serial?: number;
  /** Of schema version 2: milliseconds since the Unix epoch from which on it is not used any more. Default: no end. */
  readonly notAfterMs?: number;
  readonly files: readonly PackageFile[];
}

/** The signed manifest lies beside the files under this name, and is not one of them. */
export const manifestName = "package.json";

/** Files of one package; a model has dozens. */
const maxFiles = 4096;
/** The most that all files of a package may have together, in bytes. */
const maxPackageBytes: number = 2 ** 40;

/**
 * A path that means the same file everywhere: no way up, no separators of other systems, no names that are devices there,
 * and none that end in a dot.
 */
const part =
  "(?!(?:CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])(?:\\.|$|\\/))[A-Za-z0-9_-](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9_-])?";
const pathShape = new RegExp(`^${part}(?:/${part}){0,7}$`, "i");

const filesFrom = read.list(
  exactly({
    path: shaped(pathShape, 512, "a path of plain names such as 1/model.onnx"),
    bytes: read.whole(0, maxPackageBytes),
    digest: digestFrom,
  }),
  maxFiles,
);

/** The last instant of the year 9999. */
const maxInstantMs = 253_402_300_799_999;

const fieldsFrom = exactly({
  schemaVersion: read.word(1, 2),
  model: shaped(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/, 128, "the name of a model"),
  serial: read.optional(read.whole(1)),
  notAfterMs: read.optional(read.whole(0, maxInstantMs)),
  files: filesFrom,
});

/** Reads a manifest. Throws `invalid-input` for unknown fields, paths that lead elsewhere, and paths that differ in case only. */
export const manifestFrom: Reader<PackageManifest> = (value, where) => {
  const manifest = fieldsFrom(value, where);
  const { schemaVersion, serial, notAfterMs } = manifest;
  if (schemaVersion === 2 && serial === undefined) read.refuse(`${where}.serial`, "a serial from 1 on");
  if (schemaVersion === 1 && (serial ?? notAfterMs) !== undefined) {
    read.refuse(`${where}.schemaVersion`, "2 for a manifest with a serial or an end");
  }
  const seen = new Set<string>();
  let total = 0;
  for (const { path, bytes } of manifest.files) {
    const folded = path.toLowerCase();
    if (seen.has(folded) || folded === manifestName)
      read.refuse(`${where}.files`, "files of different names");
    seen.add(folded);
    total += bytes;
  }
  for (const path of seen) {
    const above = path.split("/").slice(0, -1);
    if (above.some((_, index) => seen.has(above.slice(0, index + 1).join("/")))) {
      read.refuse(`${where}.files`, "files that are not folders, too");
    }
  }
  if (total > maxPackageBytes)
    read.refuse(`${where}.files`, `files of at most ${maxPackageBytes} bytes together`);
  return manifest;
};

/** A manifest with its signature, which is not checked here. */
export const signedManifestFrom: Reader<Signed<PackageManifest>> = exactly({
  body: manifestFrom,
  signature: read.optional(signatureFrom),
});

/** A manifest as the JSON that is signed and hashed. */
export function manifestJson(manifest: PackageManifest): Json {
  // Manifests are plain data.
  return manifest as unknown as Json;
}

/** The name of a package. */
export function manifestDigest(
  manifest: PackageManifest,
  hash: (bytes: Uint8Array) => string | Promise<string>,
): string | Promise<string> {
  return hash(new TextEncoder().encode(canonicalJson(manifestJson(manifest))));
}

/** How a manifest is believed. One of the two must be there. */
export interface ManifestRules {
  /** The operator's keys; then it must be signed with one of them. */
  readonly ring?: KeyRing;
  /** The digest that somebody believed said it has. */
  readonly digest?: string;
  readonly hash: (bytes: Uint8Array) => string | Promise<string>;
}

/** A manifest that is believed. */
export interface BelievedManifest {
  readonly digest: string;
  readonly manifest: PackageManifest;
  /** As it came, to be passed on. */
  readonly signed: Signed<PackageManifest>;
}

/** Reads and checks a manifest. Throws `bad-reply` when it is not the one asked for, `not-permitted` when it is not believed. */
export async function believeManifest(bytes: Uint8Array, rules: ManifestRules): Promise<BelievedManifest> {
  const { ring, digest, hash } = rules;
  let signed: Signed<PackageManifest>;
  try {
    signed = signedManifestFrom(parseJson(bytes, "the manifest"), "the manifest");
  } catch (thrown) {
    const { message } = LongshoreError.from(thrown, "decode", "reading a manifest");
    throw new LongshoreError("bad-reply", "decode", message, { cause: thrown });
  }
  const manifest = signed.body;
  const found = await manifestDigest(manifest, hash);
  if (digest !== undefined && found !== digest) {
    throw new LongshoreError("bad-reply", "decode", `the manifest is ${found}, and ${digest} was asked for`);
  }
  if (ring) {
    const { signature } = signed;
    await checkSignature(
      "package manifest",
      { body: manifestJson(manifest), ...(signature ? { signature } : {}) },
      ring,
    );
  } else if (digest === undefined) {
    throw new LongshoreError(
      "not-permitted",
      "identify",
      `the package of ${manifest.model} is not believed: there are no keys of the operator here, and no digest of it`,
    );
  }
  return { digest: found, manifest, signed };
}
