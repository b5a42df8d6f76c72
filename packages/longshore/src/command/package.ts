import { join } from "node:path";
import { LongshoreError } from "@longshore/core";
import {
  headsName,
  housekeepingCall,
  manifestDigest,
  manifestJson,
  manifestName,
  type PackageManifest,
  type PackageReference,
  sign,
} from "@longshore/core/internal";
import {
  type FetchedPackage,
  fetchPackage,
  keptManifests,
  operatorRing,
  operatorSigner,
  packageCache,
  replaceFile,
  sha256,
  systemClock,
  systemRandom,
} from "@longshore/nodejs";
import type { ModelStore } from "@longshore/engine";
import { openEngine } from "../engine/open-engine.ts";
import { openModel, type OpenedModel } from "../engine/open-model.ts";
import { hasHeads, headsOf } from "../package/heads.ts";
import { checkPackage, manifestOf, nextSerial } from "../package/package-file.ts";
import { packagesAt, type PullOptions } from "../package/pull.ts";
import { readTextFile } from "../connect/read-text.ts";
import {
  type ConnectionName,
  isShown,
  refuseUnused,
  type ShownOptions,
  shownOf,
} from "../options/connection-options.ts";
import { byteCount, type CommandIo, type ExitCode } from "../options/io.ts";

/** Opens the folder of one model. Throws `unknown-model`. */
export async function modelFolder(
  argument: string,
): Promise<OpenedModel & { readonly model: string; readonly folder: string }> {
  const opened = await openModel(argument);
  const { model, folder } = opened;
  if (model !== undefined && folder !== undefined) return { ...opened, model, folder };
  throw new LongshoreError("unknown-model", "resolve", `${argument} is not the folder of one model`);
}

/** A package as an argument names it: a digest, or a model. */
export function packageReference(text: string): PackageReference {
  return text.startsWith("sha256:") ? { digest: text } : { model: text };
}

/** Why servers could not serve versions of a model. */
async function unusable(store: ModelStore, model: string): Promise<readonly string[]> {
  const { engine, close } = openEngine({ store });
  const call = housekeepingCall("package");
  try {
    const found: string[] = [];
    const own = (await engine.index(model)).filter(({ name }) => name === model);
    for (const { version } of own) {
      await engine.describe(model, version, call).catch((thrown: unknown) => {
        const { message } = LongshoreError.from(thrown, "resolve", "reading a model");
        found.push(`${model} ${version} cannot be served: ${message}`);
      });
    }
    return found;
  } finally {
    await close();
  }
}

/** Writes the signed manifest beside the files of a model and prints the digest that names the package. */
export async function packageSign(
  argument: string,
  options: {
    readonly key: string;
    readonly heads: boolean;
    readonly serial?: number;
    readonly days?: number;
    readonly json: boolean;
  },
  io: CommandIo,
): Promise<ExitCode> {
  const { store, model, folder } = await modelFolder(argument);
  const wallMs = systemClock().wallMs();
  const serial = await nextSerial(store, model, wallMs, options.serial);
  // One that has a list gets it again: heads of other files would be of no use.
  const listed = (await hasHeads(store, model)) || options.heads ? await headsOf(store, model) : undefined;
  if (listed) await replaceFile(join(folder, headsName), `${JSON.stringify(listed)}\n`);
  const signer = operatorSigner(await readTextFile(options.key, "the operator's key"));
  const end = options.days === undefined ? {} : { notAfterMs: Math.round(wallMs + options.days * dayMs) };
  const manifest = await manifestOf(store, model, { serial, ...end });
  const digest = await manifestDigest(manifest, sha256);
  const signed = await sign("package manifest", manifestJson(manifest), signer);
  await replaceFile(join(folder, manifestName), `${JSON.stringify(signed, undefined, 1)}\n`);
  const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  for (const why of await unusable(store, model)) io.note(`warning: ${why}`);
  if (options.json)
    io.out(
      JSON.stringify({ digest, model, serial, ...end, files: manifest.files.length, bytes, key: signer.key }),
    );
  else {
    io.out(digest);
    io.note(`${model}: ${manifest.files.length} files, ${byteCount(bytes)}, signed with key ${signer.key}`);
    io.note(freshness(manifest));
    if (options.heads && !listed) {
      io.note(
        `no heads: ${model} is a pipeline, and each model of its steps lists its own in its own package`,
      );
    }
    for (const { path, heads } of listed?.graphs ?? []) {
      const each = heads.map(({ cut, bytes }) => `${cut.id} ${byteCount(bytes)}`).join(", ");
      io.note(
        `${path}: ${each === "" ? "no heads: it has no profile with cuts inside" : `heads to ${each}`}`,
      );
    }
  }
  return 0;
}

/** The serial and the end of a package, for people. */
function freshness({ serial, notAfterMs }: PackageManifest): string {
  const end = notAfterMs === undefined ? "no end" : `used until ${new Date(notAfterMs).toISOString()}`;
  return `${serial === undefined ? "no serial: sign it again" : `serial ${serial}`}; ${end}`;
}

const dayMs = 86_400_000;

/** Says whether the files of a model are those that the operator signed. Exit code 1 when not. */
export async function packageCheck(
  argument: string,
  options: { readonly operatorKeys: string; readonly json: boolean },
  io: CommandIo,
): Promise<ExitCode> {
  const { store, model } = await modelFolder(argument);
  const ring = operatorRing(await readTextFile(options.operatorKeys, "the operator's keys"));
  const checked = await checkPackage(store, model, ring);
  const { believed } = checked;
  const { serial, notAfterMs = Infinity } = believed.manifest;
  const isOver = notAfterMs <= systemClock().wallMs();
  const wrong = [...checked.wrong, ...(isOver ? ["its end has passed: sign it again"] : [])];
  if (options.json) {
    const { notAfterMs: end } = believed.manifest;
    io.out(JSON.stringify({ digest: believed.digest, model, serial, notAfterMs: end, wrong }));
  } else {
    io.out(believed.digest);
    if (wrong.length === 0) io.note(freshness(believed.manifest));
    for (const one of wrong) io.note(one);
  }
  return wrong.length === 0 ? 0 : 1;
}

/** Options of `longshore package fetch`. */
export interface PackageFetchOptions extends ShownOptions<"packages"> {
  readonly from: string;
  readonly into: string;
  readonly operatorKeys?: string;
  /** The cut up to which a head is fetched, and no whole model file. */
  readonly head?: string;
  readonly json: boolean;
}

/** Fetches a package into a cache, so that a server that is started later has it. */
export async function packageFetch(
  name: string,
  options: PackageFetchOptions,
  io: CommandIo,
): Promise<ExitCode> {
  const { from, into, operatorKeys, head } = options;
  const clock = systemClock();
  const source = packagesAt(from, await shownOf("packages", options), clock);
  const ring =
    operatorKeys === undefined
      ? undefined
      : operatorRing(await readTextFile(operatorKeys, "the operator's keys"));
  const report = (text: string): void => io.note(text);
  const installed = keptManifests(into, { report, ...(ring ? { ring } : {}) });
  try {
    using fetched = await fetchPackage(
      {
        source,
        installed,
        cache: packageCache(into, { clock }),
        clock,
        random: systemRandom(),
        asNeeded: head !== undefined,
        ...(ring ? { ring } : {}),
      },
      packageReference(name),
      housekeepingCall("package fetch", io.stop),
    );
    const { digest, manifest } = fetched;
    await installed.keep(fetched);
    if (head !== undefined) await fetchHead(fetched, head);
    if (options.json) io.out(JSON.stringify({ digest, model: manifest.model, files: manifest.files.length }));
    else io.out(digest);
    return 0;
  } finally {
    await source.close();
  }
}

async function fetchHead({ asNeeded, manifest }: FetchedPackage, to: string): Promise<void> {
  const graphs = asNeeded?.graphs ?? [];
  for (const graph of graphs) {
    const head = graph.heads.find(({ cut }) => cut.id === to);
    if (head) return asNeeded?.head(graph, head);
  }
  const there = graphs.flatMap(({ heads }) => heads.map(({ cut }) => cut.id)).join(", ");
  throw new LongshoreError(
    "unknown-cut",
    "resolve",
    there === ""
      ? `the package of ${manifest.model} lists no heads: sign it with --heads`
      : `the package of ${manifest.model} has no head to ${to}; it has heads to ${there}`,
  );
}

/** Options about models that come from elsewhere. */
export interface PullCommandOptions extends ShownOptions<"packages"> {
  readonly package: readonly string[];
  readonly packagesFrom?: string;
  readonly packagesInto?: string;
  readonly packagesMax?: number;
  readonly operatorKeys?: string;
}

/**
 * The parsed options: undefined when only the repository is used. Throws `invalid-input`.
 *
 * @param otherwise Where packages come from when no option says it, the option that says this, and whose connection that is:
 * the
 *   server is the same, and so is what it is shown unless the options for packages say otherwise.
 */
export async function pullOptionsOf(
  options: PullCommandOptions & ShownOptions<"at" | "join">,
  otherwise: {
    readonly from: string | undefined;
    readonly option: string;
    readonly connection: ConnectionName;
  },
): Promise<PullOptions | undefined> {
  const { packagesInto, packagesFrom, packagesMax, operatorKeys } = options;
  if (packagesInto === undefined) {
    refuseUnused("packages", options, "needs --packages-into");
    if (options.package.length === 0 && packagesFrom === undefined) return undefined;
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      "--package and --packages-from need --packages-into",
    );
  }
  const from = packagesFrom ?? otherwise.from;
  if (from === undefined) {
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      `--packages-into needs --packages-from, or ${otherwise.option}`,
    );
  }
  const keys =
    operatorKeys === undefined ? undefined : await readTextFile(operatorKeys, "the operator's keys");
  const own = packagesFrom !== undefined || isShown("packages", options);
  return {
    from,
    into: packagesInto,
    wanted: options.package.map(packageReference),
    ...(await shownOf(own ? "packages" : otherwise.connection, options)),
    ...(keys === undefined ? {} : { operatorKeys: keys }),
    ...(packagesMax === undefined ? {} : { maxBytes: packagesMax }),
  };
}
