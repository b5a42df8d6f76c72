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
 * The content of a model: everything in its folder, by digest. The package is named by its own digest, the SHA-256 of its canonical JSON.
 */
export interface PackageManifest {
  /** Version 1 has neither serial nor end. */
  readonly schemaVersion: 1 | 2;
  readonly model: string;
  /** In schema version 2: 1 or more, higher than in all packages of the model signed before. */
  readonly serial?: number;
  /** In schema version 2: end of use in milliseconds since the Unix epoch. Default: no end. */
  readonly notAfterMs?: number;
  readonly files: readonly PackageFile[];
}

/** Name of the signed manifest beside the files. It is not one of them. */
export const manifestName = "package.json";

/** Maximum of files of one package; a model has dozens. */
const maxFiles = 4096;
/** Maximum total size of all files of a package, in bytes. */
const maxPackageBytes: number = 2 ** 40;

/**
 * Parts of a path with the same meaning on every system: no parent folders, no separators of other systems, no device names, and no names
 * that end in a dot.
 */
const part =
  "(?!(?:CON|PRN|AUX|NUL|COM[0-9]|LPT[0-9])(?:\\.|$|\\/))[A-Za-z0-9_-](?:[A-Za-z0-9._-]{0,126}[A-Za-z0-9_-])?";
const pathShape = new RegExp(`^${part}(?:/${part}){0,7}$`, "i");

const filesFrom = read.list(
  exactly({
    path: shaped(pathShape, 512, "a path of plain names such as 1/model.onnx"),
    bytes: read.readWhole(0, maxPackageBytes),
    digest: digestFrom,
  }),
  maxFiles,
);

/** The last instant of the year 9999. */
const maxInstantMs = 253_402_300_799_999;

const fieldsFrom = exactly({
  schemaVersion: read.readWord(1, 2),
  model: shaped(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/, 128, "the name of a model"),
  serial: read.optional(read.readWhole(1)),
  notAfterMs: read.optional(read.readWhole(0, maxInstantMs)),
  files: filesFrom,
});

/** Parses a manifest. Throws `invalid-input` for unknown fields, paths that lead elsewhere, and paths that differ in case only. */
export const manifestFrom: Reader<PackageManifest> = (value, where) => {
  const manifest = fieldsFrom(value, where);
  const { schemaVersion, serial, notAfterMs } = manifest;
  if (schemaVersion === 2 && serial === undefined) read.refuseField(`${where}.serial`, "a serial from 1 on");
  if (schemaVersion === 1 && (serial ?? notAfterMs) !== undefined) {
    read.refuseField(`${where}.schemaVersion`, "2 for a manifest with a serial or an end");
  }
  const seen = new Set<string>();
  let total = 0;
  for (const { path, bytes } of manifest.files) {
    const folded = path.toLowerCase();
    if (seen.has(folded) || folded === manifestName)
      read.refuseField(`${where}.files`, "files of different names");
    seen.add(folded);
    total += bytes;
  }
  for (const path of seen) {
    const above = path.split("/").slice(0, -1);
    if (above.some((_, index) => seen.has(above.slice(0, index + 1).join("/")))) {
      read.refuseField(`${where}.files`, "files that are not folders, too");
    }
  }
  if (total > maxPackageBytes)
    read.refuseField(`${where}.files`, `files of at most ${maxPackageBytes} bytes together`);
  return manifest;
};

/** Parses a manifest with its signature. The signature is not checked here. */
export const signedManifestFrom: Reader<Signed<PackageManifest>> = exactly({
  body: manifestFrom,
  signature: read.optional(signatureFrom),
});

/** The JSON of a manifest that is signed and hashed. */
export function manifestJson(manifest: PackageManifest): Json {
  // Manifests are plain data.
  return manifest as unknown as Json;
}

/** The digest that names a package. */
export function manifestDigest(
  manifest: PackageManifest,
  hash: (bytes: Uint8Array) => string | Promise<string>,
): string | Promise<string> {
  return hash(new TextEncoder().encode(canonicalJson(manifestJson(manifest))));
}

/** Conditions for trusting a manifest. One of the two must be present. */
export interface ManifestRules {
  /** The operator's keys. If present, one of them must have signed the manifest. */
  readonly ring?: KeyRing;
  /** The expected digest, from a trusted source. */
  readonly digest?: string;
  readonly hash: (bytes: Uint8Array) => string | Promise<string>;
}

/** A trusted manifest. */
export interface BelievedManifest {
  readonly digest: string;
  readonly manifest: PackageManifest;
  /** In its original form, to be passed on. */
  readonly signed: Signed<PackageManifest>;
}

/** Parses and checks a manifest. Throws `bad-reply` if it is not the requested one, `not-permitted` if it is not trusted. */
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
    throw new LongshoreError("bad-reply", "decode", `the manifest is ${found}, and ${digest} was requested`);
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
