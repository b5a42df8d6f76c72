import {
  type BelievedManifest,
  believeManifest,
  type Call,
  checkCall,
  type Clock,
  type KeyRing,
  LongshoreError,
  type PackageFile,
  type PackageReference,
  type PackageSource,
  type Random,
  sleep,
} from "@longshore/core";
import { sha256 } from "../store/index.ts";
import type { PackageCache } from "./cache.ts";

/** What fetching a package needs. */
export interface FetchPackageParts {
  readonly source: PackageSource;
  readonly cache: PackageCache;
  readonly clock: Clock;
  readonly random: Random;
  /** The operator's keys. Without them only packages whose digest is given are believed. */
  readonly ring?: KeyRing;
  /** Tries of each file; a try goes on where the one before broke off. Default 8. */
  readonly tries?: number;
}

/** A package that is here, whole and checked. Its files stay until it is disposed. */
export interface FetchedPackage extends BelievedManifest, Disposable {}

/** The first and the longest pause between tries, in milliseconds. */
const firstPauseMs = 200;
const longestPauseMs = 10_000;

async function fetchFile(
  parts: FetchPackageParts,
  packageDigest: string,
  file: PackageFile,
  call: Call,
): Promise<void> {
  const { source, cache, clock, random, tries = 8 } = parts;
  let pauseMs = firstPauseMs;
  let wrong = 0;
  for (let tried = 1; ; tried++) {
    try {
      await cache.fill(file, (fromByte) => source.file(packageDigest, file.digest, fromByte, call), call);
      return;
    } catch (thrown) {
      const error = LongshoreError.from(thrown, "transport", `fetching ${file.path}`);
      if (error.reason === "bad-reply") wrong++;
      // Once it may be what was here before that was wrong; a second time it is the source.
      const lost = !error.retryable || error.reason === "memory-limit" || wrong > 1;
      if (lost || tried >= tries || call.abort.aborted) throw error;
      await sleep(clock, Math.max(pauseMs * (0.5 + random.next()), error.retryAfterMs ?? 0), call.abort);
      checkCall(call, clock, "transport");
      pauseMs = Math.min(longestPauseMs, 2 * pauseMs);
    }
  }
}

/**
 * Fetches a package: the manifest, which must be believed, and each file that is not here yet, checked as it comes. Throws
 * `unknown-model`, `not-permitted` for a manifest that is not believed, `bad-reply` for content that is not what the
 * manifest says, `memory-limit` when it does not fit, and what the source throws when all tries failed.
 */
export async function fetchPackage(
  parts: FetchPackageParts,
  wanted: PackageReference,
  call: Call,
): Promise<FetchedPackage> {
  const { source, cache, ring } = parts;
  const believed = await believeManifest(await source.manifest(wanted, call), {
    hash: sha256,
    ...(ring ? { ring } : {}),
    ...("digest" in wanted ? { digest: wanted.digest } : {}),
  });
  const { manifest, digest } = believed;
  if ("model" in wanted && manifest.model !== wanted.model) {
    throw new LongshoreError(
      "bad-reply",
      "decode",
      `the package of ${manifest.model} came, and that of another model was asked for`,
    );
  }
  const files = [...new Map(manifest.files.map((file) => [file.digest, file])).values()];
  const total = files.reduce((sum, { bytes }) => sum + bytes, 0);
  if (total > cache.maxBytes) {
    throw new LongshoreError(
      "memory-limit",
      "resolve",
      `the package of ${manifest.model} has ${total} bytes, and the cache holds ${cache.maxBytes}`,
    );
  }
  // Before the first file: a later one must not make room by throwing it away.
  const pin = cache.pin(files.map((file) => file.digest));
  try {
    for (const file of files) await fetchFile(parts, digest, file, call);
    return { ...believed, [Symbol.dispose]: () => pin[Symbol.dispose]() };
  } catch (thrown) {
    pin[Symbol.dispose]();
    throw thrown;
  }
}
