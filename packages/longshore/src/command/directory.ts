import { writeFile } from "node:fs/promises";
import {
  type DirectoryEntry,
  type EndpointInfo,
  LongshoreError,
  type LongshoreEvent,
  type Signed,
} from "@longshore/core";
import { aliasFrom, checkSignature, entryJson, sign } from "@longshore/core/internal";
import { endOfTimeMs, newOperatorKey, operatorRing, operatorSigner, systemClock } from "@longshore/nodejs";
import { changeDirectoryFile, readDirectoryFile, type SignedAlias } from "../connect/entry-file.ts";
import { readTextFile } from "../connect/read-text.ts";
import { type DirectoryCommandOptions, directoryOf } from "../options/directory-options.ts";
import { type CommandIo, type ExitCode, table } from "../options/io.ts";

/** Makes a key pair of an operator: the private key into a file that only its owner reads, the public one to be given away. */
export async function directoryKey(
  file: string,
  options: { readonly json: boolean },
  io: CommandIo,
): Promise<ExitCode> {
  const { id, privatePem, publicLine } = newOperatorKey();
  try {
    await writeFile(file, privatePem, { flag: "wx", mode: 0o600 });
  } catch (thrown) {
    const code = thrown instanceof Error && "code" in thrown ? String(thrown.code) : "it cannot be written";
    throw new LongshoreError("invalid-configuration", "resolve", `the key '${file}': ${code}`, {
      cause: thrown,
    });
  }
  if (options.json) io.out(JSON.stringify({ id, publicKey: publicLine }));
  else {
    io.out(publicLine);
    io.note(`key ${id}: the line above is public; '${file}' is secret: its holder acts as the operator`);
  }
  return 0;
}

/** Options of `longshore directory sign`. */
export interface SignOptions {
  readonly key: string;
  readonly out?: string;
  readonly days: number;
  readonly json: boolean;
}

const dayMs = 86_400_000;

/** Of each name the highest revision. */
function newestOf(aliases: readonly SignedAlias[]): readonly SignedAlias[] {
  const newest = new Map<string, { readonly revision: number; readonly signed: SignedAlias }>();
  for (const signed of aliases) {
    const { name, revision } = aliasFrom(signed.body.alias, "an alias of the file");
    if (revision > (newest.get(name)?.revision ?? 0)) newest.set(name, { revision, signed });
  }
  return Array.from(newest.values(), ({ signed }) => signed);
}

/**
 * Signs the entries of a file. One without an end holds for `--days` from now; each gets a serial after all that ever were signed
 * in the file to write: it may have been taken out and come back as it was long ago. The aliases of both files are in the one
 * that is written.
 */
export async function directorySign(file: string, options: SignOptions, io: CommandIo): Promise<ExitCode> {
  const signer = operatorSigner(await readTextFile(options.key, "the operator's key"));
  const wallMs = systemClock().wallMs();
  const out = options.out ?? file;
  const entries = await changeDirectoryFile(out, async (before) => {
    const result: Signed<DirectoryEntry>[] = [];
    const drafts = await readDirectoryFile(file);
    const lastRevision = Math.max(before.lastRevision, drafts.lastRevision);
    let lastSerial = Math.max(before.lastSerial, drafts.lastSerial);
    for (const { body, signature } of before.entries) {
      if (signature) lastSerial = Math.max(lastSerial, body.serial);
    }
    const nextSerial = lastSerial + 1;
    for (const { body } of drafts.entries) {
      const notAfterMs =
        body.notAfterMs === endOfTimeMs ? Math.round(wallMs + options.days * dayMs) : body.notAfterMs;
      const serial = Math.max(body.serial, nextSerial);
      lastSerial = Math.max(lastSerial, serial);
      const entry: DirectoryEntry = { ...body, serial, notAfterMs };
      result.push({ ...(await sign("directory entry", entryJson(entry), signer)), body: entry });
    }
    // Aliases have signatures of their own, which are not touched.
    const aliases = newestOf([...before.aliases, ...drafts.aliases]);
    return { now: { entries: result, aliases, lastSerial, lastRevision }, result };
  });
  if (options.json)
    io.out(
      JSON.stringify({
        key: signer.key,
        entries: entries.map(({ body: { id, serial } }) => ({ id, serial })),
      }),
    );
  else io.note(`${entries.length} entries signed with key ${signer.key} into '${out}'`);
  return 0;
}

/** Says of each entry of a file whether it holds now, and why not. Exit code 1 when one does not. */
export async function directoryCheck(
  file: string,
  options: { readonly operatorKeys: string; readonly json: boolean },
  io: CommandIo,
): Promise<ExitCode> {
  const ring = operatorRing(await readTextFile(options.operatorKeys, "the operator's keys"));
  const wallMs = systemClock().wallMs();
  const rows: {
    readonly id: string;
    readonly serial: number;
    readonly until: string;
    readonly problem: string;
  }[] = [];
  for (const { body, signature } of (await readDirectoryFile(file)).entries) {
    let problem = "";
    try {
      await checkSignature(
        "directory entry",
        { body: entryJson(body), ...(signature ? { signature } : {}) },
        ring,
      );
      if (wallMs < body.notBeforeMs) problem = "its time is to come";
      if (wallMs >= body.notAfterMs) problem = "its time is over";
    } catch (thrown) {
      problem = LongshoreError.from(thrown, "identify", "checking").message;
    }
    rows.push({ id: body.id, serial: body.serial, until: new Date(body.notAfterMs).toISOString(), problem });
  }
  if (options.json) io.out(JSON.stringify({ entries: rows }));
  else
    io.out(
      table(
        ["", "endpoint", "serial", "until", "problem"],
        rows.map(({ id, serial, until, problem }) => [
          problem === "" ? "ok" : "NO",
          id,
          String(serial),
          until,
          problem || "-",
        ]),
      ),
    );
  return rows.every(({ problem }) => problem === "") ? 0 : 1;
}

function row({
  id,
  tier,
  zone,
  trust,
  address,
  serves,
  accelerator,
  rates,
}: EndpointInfo): readonly string[] {
  return [
    id,
    tier,
    zone,
    trust,
    address ?? "-",
    serves?.map(({ segment }) => segment.model).join(",") ?? "whatever it offers",
    accelerator ? [accelerator.count, accelerator.name ?? accelerator.kind].filter(Boolean).join(" x ") : "-",
    `${rates.microsPerSecond}`,
    `${rates.activeWatts}`,
  ];
}

/** Lists the endpoints of a directory as they would be used now, the expected ones, and the refused ones. */
export async function directoryList(
  from: string,
  options: Omit<DirectoryCommandOptions, "directory"> & { readonly json: boolean },
  io: CommandIo,
): Promise<ExitCode> {
  const refused: (LongshoreEvent & { readonly kind: "directory-changed" })[] = [];
  const awaited: string[] = [];
  const opened = await directoryOf({ ...options, directory: from });
  if (!opened) return 2;
  opened.events.passTo({
    record(event) {
      if (event.kind !== "directory-changed") return;
      if (event.change === "refused") refused.push(event);
      if (event.change === "awaited") awaited.push(event.endpoint);
    },
  });
  await using directory = opened.directory;
  const { entries, ageMs, problem } = directory.snapshot();
  if (options.json) {
    const refusals = refused.map(({ endpoint, because }) => ({ id: endpoint, because }));
    io.out(
      JSON.stringify({
        entries,
        refused: refusals,
        awaited,
        ageMs: Number.isFinite(ageMs) ? ageMs : null,
        problem,
      }),
    );
  } else {
    io.out(
      table(
        ["endpoint", "tier", "zone", "trust", "address", "serves", "accelerator", "micros/s", "watts"],
        entries.map(row),
      ),
    );
    for (const { endpoint, because } of refused) io.note(`not believed: ${endpoint}: ${because}`);
    for (const id of awaited) io.note(`awaited: ${id}: its entry is believed, and its address is unknown`);
    if (problem !== undefined) io.note(`not in touch: ${problem}`);
  }
  return problem === undefined ? 0 : 1;
}
