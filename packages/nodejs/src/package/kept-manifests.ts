import { mkdir, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { type Digest, type KeyRing, LongshoreError } from "@longshore/core";
import {
  believeManifest,
  checkPackageSerial,
  type BelievedManifest,
  type InstalledPackage,
  maxManifestBytes,
  packageSerial,
  type PackageReference,
  parseJson,
  read,
} from "@longshore/core/internal";
import { replaceFile } from "../file/index.ts";
import { sha256 } from "../store/index.ts";

/*
 * The files of a package are useless without its signed manifest: a device that restarts while its source is away would have
 * all bytes and no model. So the manifest of each installed package is kept beside the files, and believed again at each start,
 * by its signature and digest. The folder is never trusted: a file in it that is damaged, or that another program wrote, is
 * reported, set aside when its name is needed, and does not affect other packages. The same folder remembers the highest serial
 * of each model, so that no earlier package is put back; it is written twice, in a record of the model and in the manifest that
 * has it.
 */

/** Manifests of the packages that were installed from a cache. */
export interface KeptManifests {
  /** The manifest of a digest, or of the package of a model that was installed last. Undefined: none is kept, or none is believed. */
  find(wanted: PackageReference): Promise<BelievedManifest | undefined>;
  /**
   * Throws `package-outdated` for a package that is older than one of its model that was installed here, and `conflict` for another one with
   * its serial. Without keys of the operator serials are ignored.
   */
  check(wanted: BelievedManifest): Promise<void>;
  /**
   * Keeps the manifest of a package that was installed, and remembers its serial. A failed write is reported, and fails
   * nothing.
   */
  keep(installed: BelievedManifest): Promise<void>;
}

/** How manifests are kept and believed. */
export interface KeptManifestsOptions {
  /** The operator's keys. Without them only a manifest with the requested digest is believed. */
  readonly ring?: KeyRing;
  /** Gets a line for each file that cannot be used. */
  readonly report: (text: string) => void;
}

/** Manifests that are kept. A device has dozens of packages; those that were kept longest go first. */
const mostManifests = 1000;
/** The longest record of an installed package, in bytes. */
const maxRecordBytes = 4096;

/** The package of a model that was installed last, as its record says. */
interface Installed extends InstalledPackage {
  /** The key that signed it: a package whose key is no longer the operator's does not count. */
  readonly key: string;
}

const recordFrom = read.fields({
  schemaVersion: read.readWord(1),
  model: read.readText(128),
  digest: read.readText(71),
  serial: read.readWhole(0),
  key: read.readText(64),
});

function why(thrown: unknown): string {
  if (LongshoreError.is(thrown)) return thrown.message;
  return thrown instanceof Error && "code" in thrown ? String(thrown.code) : "it cannot be used";
}

/** The content of a file; undefined where it is not there. */
async function contentOf(path: string, maxBytes: number): Promise<Uint8Array | undefined> {
  try {
    const { size } = await stat(path);
    if (size > maxBytes) {
      throw new LongshoreError(
        "invalid-input",
        "resolve",
        `it has ${size} bytes, and at most ${maxBytes} are read`,
      );
    }
    return await readFile(path);
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return undefined;
    throw thrown;
  }
}

const hexOf = (digest: Digest): string => digest.slice("sha256:".length);
const digestShape = /^sha256:[0-9a-f]{64}$/;

/**
 * Opens the manifests in the folder of a cache. The folder is made with the first one.
 *
 * @example
 * ```ts
 * import { keptManifests } from "@longshore/nodejs";
 *
 * const kept = keptManifests("packages", { report: console.warn });
 * console.log(await kept.find({ model: "ocr" })); // undefined
 * ```
 */
export function keptManifests(folder: string, { ring, report }: KeptManifestsOptions): KeptManifests {
  const manifests = join(folder, "manifests");
  const installed = join(folder, "installed");
  const manifestAt = (digest: Digest): string => join(manifests, `${hexOf(digest)}.json`);
  // By a hash: names of models differ where file systems see none, and some are names of devices.
  const recordAt = async (model: string): Promise<string> =>
    join(installed, `${hexOf(await sha256(new TextEncoder().encode(model)))}.json`);
  const reported = new Set<string>();
  /** The packages installed since this was opened, also if the record could not be written. */
  const latest = new Map<string, InstalledPackage>();

  /** Reports the problem of a file, once. */
  function reportOnce(what: string, path: string, thrown: unknown, then: string): void {
    if (reported.has(path)) return;
    reported.add(path);
    report(`packages: ${what} cannot be used (${why(thrown)}); ${then}: ${path.slice(folder.length + 1)}`);
  }

  async function manifestOf(digest: Digest): Promise<BelievedManifest | undefined> {
    if (!digestShape.test(digest)) return undefined;
    const path = manifestAt(digest);
    try {
      const bytes = await contentOf(path, maxManifestBytes);
      return bytes && (await believeManifest(bytes, { digest, hash: sha256, ...(ring ? { ring } : {}) }));
    } catch (thrown) {
      reportOnce("a kept manifest", path, thrown, "it is fetched from the source again");
      return undefined;
    }
  }

  async function recordOf(model: string): Promise<Installed | undefined> {
    const path = await recordAt(model);
    try {
      const bytes = await contentOf(path, maxRecordBytes);
      if (!bytes) return undefined;
      const { schemaVersion: _version, ...record } = recordFrom(parseJson(bytes, "it"), "it");
      if (record.model === model && digestShape.test(record.digest)) {
        return ring?.keys.includes(record.key) === false ? undefined : record;
      }
      throw new LongshoreError("invalid-input", "resolve", `it is not a record of ${model}`);
    } catch (thrown) {
      reportOnce(
        `the record of the installed package of ${model}`,
        path,
        thrown,
        "the kept manifests give its serial",
      );
      return undefined;
    }
  }

  /** The newest manifest of a model that is kept and believed, if its record is missing. */
  async function newestOf(model: string): Promise<BelievedManifest | undefined> {
    const names = await readdir(manifests).catch(() => []);
    const found: { readonly believed: BelievedManifest; readonly atMs: number }[] = [];
    for (const name of names) {
      const digest = `sha256:${name.replace(/\.json$/, "")}`;
      const believed = await manifestOf(digest);
      if (believed?.manifest.model !== model) continue;
      const { mtimeMs } = await stat(manifestAt(digest)).catch(() => ({ mtimeMs: 0 }));
      found.push({ believed, atMs: mtimeMs });
    }
    const serialOf = ({ believed }: (typeof found)[number]): number => packageSerial(believed.manifest);
    return found.toSorted((a, b) => serialOf(b) - serialOf(a) || b.atMs - a.atMs)[0]?.believed;
  }

  /** The installed package of a model, with the highest serial that any record here remembers. */
  async function newestInstalled(model: string): Promise<InstalledPackage | undefined> {
    const here = latest.get(model);
    const record = await recordOf(model);
    if (record) return here && here.serial > record.serial ? here : record;
    if (here) return here;
    const believed = await newestOf(model);
    return believed && { serial: packageSerial(believed.manifest), digest: believed.digest };
  }

  /** Replaces a file. One that is there and is none of these is set aside, so that nothing is lost. */
  async function write(path: string, content: string, isOurs: boolean): Promise<void> {
    if (!isOurs && reported.has(path)) await rename(path, `${path}.damaged`).catch(() => undefined);
    reported.delete(path);
    await replaceFile(path, content);
  }

  async function prune(keep: Digest): Promise<void> {
    const names = await readdir(manifests);
    if (names.length <= mostManifests) return;
    const aged = await Promise.all(
      names.map(async (name) => ({ name, atMs: (await stat(join(manifests, name))).mtimeMs })),
    );
    const oldest = aged
      .filter(({ name }) => name !== `${hexOf(keep)}.json`)
      .toSorted((a, b) => a.atMs - b.atMs);
    for (const { name } of oldest.slice(0, names.length - mostManifests)) {
      await rm(join(manifests, name), { force: true });
    }
  }

  return {
    async find(wanted) {
      if ("digest" in wanted) return manifestOf(wanted.digest);
      // Without keys of the operator nothing vouches for a package that is wanted by the name of its model.
      if (!ring) return undefined;
      const { model } = wanted;
      const record = await recordOf(model);
      const believed = record && (await manifestOf(record.digest));
      if (believed?.manifest.model === model) return believed;
      return newestOf(model);
    },
    async check(wanted) {
      if (ring) checkPackageSerial(wanted, await newestInstalled(wanted.manifest.model));
    },
    async keep({ digest, manifest, signed }) {
      const { model } = manifest;
      const now: Installed = { serial: packageSerial(manifest), digest, key: signed.signature?.key ?? "" };
      try {
        for (const one of [manifests, installed]) await mkdir(one, { recursive: true });
        const known = await manifestOf(digest);
        if (!known) await write(manifestAt(digest), JSON.stringify(signed), false);
        // A reader that believes by digest alone sets no serial for others.
        if (ring) {
          const newest = await newestInstalled(model);
          const isNewest = newest === undefined || now.serial >= newest.serial;
          const record = await recordOf(model);
          if (isNewest && record?.digest !== digest) {
            const text = JSON.stringify({ schemaVersion: 1, model, ...now });
            await write(await recordAt(model), text, record !== undefined);
          }
          if (isNewest) latest.set(model, now);
        }
        await prune(digest);
      } catch (thrown) {
        if (ring && now.serial >= (latest.get(model)?.serial ?? 0)) latest.set(model, now);
        report(
          `packages: ${digest} of ${model} is here and cannot be remembered for a restart: ${why(thrown)}`,
        );
      }
    },
  };
}
