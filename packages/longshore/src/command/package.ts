import { join } from "node:path";
import {
  housekeepingCall,
  LongshoreError,
  manifestDigest,
  manifestJson,
  manifestName,
  type PackageReference,
  remotePackages,
  sign,
} from "@longshore/core";
import {
  fetchPackage,
  httpTransport,
  operatorRing,
  operatorSigner,
  packageCache,
  replaceFile,
  sha256,
  systemClock,
  systemRandom,
} from "@longshore/nodejs";
import { transportTls } from "../compose/server-tls.ts";
import { openModel, type OpenedModel } from "../compose/open-model.ts";
import { checkPackage, manifestOf } from "../compose/package-file.ts";
import type { PullOptions } from "../compose/pull.ts";
import { readText } from "../compose/read-text.ts";
import { type AtOptions, shownOf } from "./at-options.ts";
import { byteCount, type CommandIo, type ExitCode } from "./io.ts";

async function modelFolder(
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

/** Writes the signed manifest beside the files of a model and prints the digest that names the package. */
export async function packageSign(
  argument: string,
  options: { readonly key: string; readonly json: boolean },
  io: CommandIo,
): Promise<ExitCode> {
  const { store, model, folder } = await modelFolder(argument);
  const signer = operatorSigner(await readText(options.key, "the operator's key"));
  const manifest = await manifestOf(store, model);
  const digest = await manifestDigest(manifest, sha256);
  const signed = await sign("package manifest", manifestJson(manifest), signer);
  await replaceFile(join(folder, manifestName), `${JSON.stringify(signed, undefined, 1)}\n`);
  const bytes = manifest.files.reduce((sum, file) => sum + file.bytes, 0);
  if (options.json)
    io.out(JSON.stringify({ digest, model, files: manifest.files.length, bytes, key: signer.key }));
  else {
    io.out(digest);
    io.note(`${model}: ${manifest.files.length} files, ${byteCount(bytes)}, signed with key ${signer.key}`);
  }
  return 0;
}

/** Says whether the files of a model are those that the operator signed. Exit code 1 when not. */
export async function packageCheck(
  argument: string,
  options: { readonly operatorKeys: string; readonly json: boolean },
  io: CommandIo,
): Promise<ExitCode> {
  const { store, model } = await modelFolder(argument);
  const ring = operatorRing(await readText(options.operatorKeys, "the operator's keys"));
  const { believed, wrong } = await checkPackage(store, model, ring);
  if (options.json) io.out(JSON.stringify({ digest: believed.digest, model, wrong }));
  else {
    io.out(believed.digest);
    for (const one of wrong) io.note(one);
  }
  return wrong.length === 0 ? 0 : 1;
}

/** Options of `longshore package fetch`. */
export interface PackageFetchOptions extends Omit<AtOptions, "at"> {
  readonly from: string;
  readonly into: string;
  readonly operatorKeys?: string;
  readonly json: boolean;
}

/** Fetches a package into a cache, so that a server that is started later has it. */
export async function packageFetch(
  name: string,
  options: PackageFetchOptions,
  io: CommandIo,
): Promise<ExitCode> {
  const { from, into, operatorKeys } = options;
  const clock = systemClock();
  const { credentials, tls } = await shownOf(options);
  const transport = httpTransport({
    address: from,
    clock,
    maxReplyBytes: 2 ** 40,
    ...(credentials ? { credentials } : {}),
    ...(tls ? { tls: transportTls(tls) } : {}),
  });
  const ring =
    operatorKeys === undefined
      ? undefined
      : operatorRing(await readText(operatorKeys, "the operator's keys"));
  try {
    using fetched = await fetchPackage(
      {
        source: remotePackages(transport, from),
        cache: packageCache(into, { clock }),
        clock,
        random: systemRandom(),
        ...(ring ? { ring } : {}),
      },
      packageReference(name),
      housekeepingCall("package fetch", io.stop),
    );
    const { digest, manifest } = fetched;
    if (options.json) io.out(JSON.stringify({ digest, model: manifest.model, files: manifest.files.length }));
    else io.out(digest);
    return 0;
  } finally {
    await transport.close();
  }
}

/** Options of `longshore serve` about models that come from elsewhere. */
export interface PullCommandOptions extends Omit<AtOptions, "at"> {
  readonly package: readonly string[];
  readonly packagesFrom?: string;
  readonly packagesInto?: string;
  readonly packagesMax?: number;
  readonly operatorKeys?: string;
  readonly join?: string;
}

/** What they mean for a server: undefined when it keeps to its repository. Throws `invalid-input`. */
export async function pullOptionsOf(options: PullCommandOptions): Promise<PullOptions | undefined> {
  const { packagesInto, packagesFrom, packagesMax, operatorKeys, join: keeper } = options;
  if (packagesInto === undefined) {
    if (options.package.length === 0 && packagesFrom === undefined) return undefined;
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      "--package and --packages-from need --packages-into",
    );
  }
  const from = packagesFrom ?? keeper;
  if (from === undefined) {
    throw new LongshoreError("invalid-input", "resolve", "--packages-into needs --packages-from, or --join");
  }
  const keys = operatorKeys === undefined ? undefined : await readText(operatorKeys, "the operator's keys");
  return {
    from,
    into: packagesInto,
    wanted: options.package.map(packageReference),
    ...(await shownOf(options)),
    ...(keys === undefined ? {} : { operatorKeys: keys }),
    ...(packagesMax === undefined ? {} : { maxBytes: packagesMax }),
  };
}
