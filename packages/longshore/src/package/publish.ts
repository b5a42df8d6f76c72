import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { LongshoreError } from "@longshore/core";
import { manifestName } from "@longshore/core/internal";
import { operatorRing } from "@longshore/nodejs";
import { demandNats, type PublishOptions } from "../command/publish.ts";
import { natsPackageWriter, type PackageWriter } from "../compose/nats-directory.ts";
import { readTextFile } from "../compose/read-text.ts";
import { type ShownOptions, shownOf } from "../options/connection-options.ts";
import { byteCount, type CommandIo, type ExitCode } from "../options/io.ts";
import { modelFolder } from "./command.ts";
import { checkPackage } from "./package-file.ts";

/** Where packages are published. */
type To = Pick<PublishOptions, "to" | "replicas" | "json"> & ShownOptions<"packages">;

async function writing<T>(options: To, work: (writer: PackageWriter) => Promise<T>): Promise<T> {
  const { to, replicas } = options;
  demandNats(to);
  const shown = await shownOf("packages", options);
  const writer = await natsPackageWriter(to, { ...shown, ...(replicas === undefined ? {} : { replicas }) });
  try {
    return await work(writer);
  } finally {
    await writer.close();
  }
}

/** Publishes a model whose files are those that the operator signed. */
export async function packagePublish(
  argument: string,
  options: To & Pick<PublishOptions, "operatorKeys">,
  io: CommandIo,
): Promise<ExitCode> {
  demandNats(options.to);
  const { store, model, folder } = await modelFolder(argument);
  const ring = operatorRing(await readTextFile(options.operatorKeys, "the operator's keys"));
  const { believed, wrong } = await checkPackage(store, model, ring);
  if (wrong.length > 0) {
    const what = `${model} is not what was signed (${wrong.slice(0, 3).join("; ")}): sign it again`;
    throw new LongshoreError("invalid-model", "resolve", what);
  }
  const { digest, manifest } = believed;
  const bytes = await readFile(join(folder, manifestName));
  const { sent, kept, unchanged } = await writing(options, (writer) =>
    writer.publish(digest, bytes, (path) => {
      io.progress(`${model}: sending ${path}`);
      return readFile(join(folder, path));
    }),
  );
  const { serial = 0, files } = manifest;
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
