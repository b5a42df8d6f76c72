import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { LongshoreError } from "@longshore/core";
import {
  type BelievedManifest,
  housekeepingCall,
  manifestName,
  type PackageManifest,
  packageSerial,
  type PackageSource,
  parseJson,
  signedManifestFrom,
} from "@longshore/core/internal";
import {
  folderSerial,
  ociPackages,
  operatorRing,
  pushOciPackage,
  systemClock,
  writeFolderPackage,
} from "@longshore/nodejs";
import { type PublishOptions, writingTo } from "../publish/publish.ts";
import { isNats, optionalNatsPackageWriter, type PackageWriter } from "../connect/nats-directory.ts";
import { readTextFile } from "../connect/read-text.ts";
import { refuseUnused, type ShownOptions, shownOf } from "../options/connection-options.ts";
import { byteCount, type CommandIo, type ExitCode } from "../options/io.ts";
import { modelFolder } from "./package.ts";
import { checkPackage } from "../package/package-file.ts";
import { ociAt } from "../package/pull.ts";

/** Where packages are published. */
type To = Pick<PublishOptions, "to" | "replicas" | "json"> & ShownOptions<"packages">;

function writing<T>(options: To, work: (writer: PackageWriter) => Promise<T>): Promise<T> {
  return writingTo(optionalNatsPackageWriter, "packages", options, work);
}

/** The serial of the package of a model that is at the target now; undefined if there is none. */
async function serialAt(source: PackageSource, model: string, io: CommandIo): Promise<number | undefined> {
  try {
    const bytes = await source.manifest({ model }, housekeepingCall("package publish", io.stop));
    return packageSerial(signedManifestFrom(parseJson(bytes, "the manifest"), "the manifest").body);
  } catch (thrown) {
    if (LongshoreError.is(thrown) && thrown.reason === "unknown-model") return undefined;
    throw thrown;
  }
}

/** Throws `package-outdated` for a package that is older than the one at the target. */
function checkOrder({ model, serial = 0 }: PackageManifest, there: number | undefined): void {
  if (there === undefined || there <= serial) return;
  const what = `the package of ${model} has serial ${serial}, and serial ${there} is published already`;
  throw new LongshoreError("package-outdated", "resolve", what);
}

/** Writes into an OCI registry. @returns where the package is, with the digest of the artifact */
async function toRegistry(
  options: To,
  { digest, manifest }: BelievedManifest,
  bytes: Uint8Array,
  read: (path: string) => Promise<Uint8Array>,
  io: CommandIo,
): Promise<Published> {
  const { to } = options;
  const at = ociAt(to, await shownOf("packages", options), systemClock());
  if (at.pinned !== undefined) {
    const why = `--to names a repository; the digest ${at.pinned} follows from what is published`;
    throw new LongshoreError("invalid-input", "resolve", why);
  }
  const source = ociPackages(at);
  try {
    checkOrder(manifest, await serialAt(source, manifest.model, io));
  } finally {
    await source.close();
  }
  const call = housekeepingCall("package publish", io.stop);
  const { artifact, sent } = await pushOciPackage(at, digest, bytes, read, call);
  return { at: `${to}@${artifact}`, sent, kept: manifest.files.length - sent };
}

/** Writes into a folder. */
async function toFolder(
  options: To,
  { digest, manifest }: BelievedManifest,
  bytes: Uint8Array,
  read: (path: string) => Promise<Uint8Array>,
): Promise<Published> {
  const { to } = options;
  refuseUnused("packages", options, "needs --to oci:HOST/REPOSITORY or nats:HOST");
  checkOrder(manifest, await folderSerial(to, manifest.model));
  const sent = await writeFolderPackage(to, digest, bytes, read);
  return { at: to, sent, kept: manifest.files.length - sent };
}

/** Where a package is now, how many files were sent, and how many were there. */
interface Published {
  readonly at: string;
  readonly sent: number;
  readonly kept: number;
}

/** Publishes a model whose files are those that the operator signed. */
export async function packagePublish(
  argument: string,
  options: To & Pick<PublishOptions, "operatorKeys">,
  io: CommandIo,
): Promise<ExitCode> {
  const { to } = options;
  if (!isNats(to) && !to.startsWith("oci:") && /^[a-z]{2,}:/.test(to)) {
    const what = `--to is oci:HOST/REPOSITORY, nats:HOST[:PORT][/BUCKET] or a folder, not '${to.slice(0, to.indexOf(":") + 1)}'`;
    throw new LongshoreError("invalid-configuration", "resolve", what);
  }
  const { store, model, folder } = await modelFolder(argument);
  const ring = operatorRing(await readTextFile(options.operatorKeys, "the operator's keys"));
  const { believed, wrong } = await checkPackage(store, model, ring);
  if (wrong.length > 0) {
    const what = `${model} is not what was signed (${wrong.slice(0, 3).join("; ")}): sign it again`;
    throw new LongshoreError("invalid-model", "resolve", what);
  }
  const { digest, manifest } = believed;
  const bytes = await readFile(join(folder, manifestName));
  const { serial = 0, files } = manifest;
  const read = (path: string): Promise<Uint8Array> => {
    io.progress(`${model}: sending ${path}`);
    return readFile(join(folder, path));
  };
  if (!isNats(to)) {
    const published = to.startsWith("oci:")
      ? await toRegistry(options, believed, bytes, read, io)
      : await toFolder(options, believed, bytes, read);
    if (options.json) io.out(JSON.stringify({ to, digest, model, serial, ...published }));
    else {
      io.out(published.at);
      io.note(
        `${model} (serial ${serial}), package ${digest}: ${published.sent} files sent, ${published.kept} were there`,
      );
    }
    return 0;
  }
  const { sent, kept, unchanged } = await writing(options, (writer) => writer.publish(digest, bytes, read));
  if (options.json) {
    io.out(JSON.stringify({ to: options.to, digest, model, serial, sent, kept, unchanged }));
    return 0;
  }
  const total = files.reduce((sum, file) => sum + file.bytes, 0);
  io.out(digest);
  io.note(
    unchanged
      ? `${model} (serial ${serial}): the store has it already`
      : `${model} (serial ${serial}): ${sent} files sent, ${kept} were there; ${byteCount(total)} in all`,
  );
  return 0;
}

/** Makes the object store as a copy of the one in another JetStream domain. */
export async function packageMirror(
  options: To & { readonly domain: string },
  io: CommandIo,
): Promise<ExitCode> {
  const { to, domain } = options;
  await writing(options, (writer) => writer.mirror(domain));
  if (options.json) io.out(JSON.stringify({ to, domain }));
  else io.out(`${to} is a copy of the packages in domain ${domain}`);
  return 0;
}
