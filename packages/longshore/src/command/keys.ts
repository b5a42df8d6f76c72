import { LongshoreError } from "@longshore/core";
import { systemClock } from "@longshore/nodejs";
import { allRights, type KeyRecord, type Right } from "@longshore/server";
import { keyStore } from "../compose/key-store.ts";
import { type CommandIo, type ExitCode, table } from "../options/io.ts";

/** Options of all `longshore keys` commands. */
export interface KeysOptions {
  readonly file: string;
  readonly pepper?: string;
  readonly json: boolean;
}

/** Options of `longshore keys add`. */
export interface KeysAddOptions extends KeysOptions {
  readonly tenant: string;
  readonly right: readonly string[];
  readonly note?: string;
  /** `90d`, `12h`, or an instant such as `2026-12-31`. */
  readonly expires?: string;
}

const unitMs: Readonly<Record<string, number>> = { m: 60_000, h: 3_600_000, d: 86_400_000 };

/** The instant that `--expires` means, in milliseconds since the Unix epoch. */
function expiryOf(text: string, wallMs: number): number {
  const [, count, unit] = /^([1-9][0-9]{0,5})([mhd])$/.exec(text) ?? [];
  const instant = unit ? wallMs + Number(count) * (unitMs[unit] ?? 0) : Date.parse(text);
  if (Number.isFinite(instant) && instant > wallMs && instant < 253_402_300_800_000) return instant;
  throw new LongshoreError(
    "invalid-input",
    "resolve",
    `--expires wants a time from now such as 90d or 12h, or a date to come, not '${text.slice(0, 40)}'`,
  );
}

function rightsOf(words: readonly string[]): readonly Right[] {
  const chosen = words.length === 0 ? ["infer"] : words;
  const rights = allRights.filter((right) => chosen.includes(right));
  if (rights.length === new Set(chosen).size) return rights;
  throw new LongshoreError("invalid-input", "resolve", `--right wants one of ${allRights.join(", ")}`);
}

function stateOf({ revokedMs, expiresMs }: KeyRecord, wallMs: number): string {
  if (revokedMs !== undefined) return "revoked";
  return expiresMs !== undefined && expiresMs <= wallMs ? "expired" : "valid";
}

const isoTime = (ms: number): string => new Date(ms).toISOString();

function store({ file, pepper }: KeysOptions): ReturnType<typeof keyStore> {
  return keyStore(file, () => systemClock().wallMs(), pepper);
}

/** Makes a key and shows it, this once. The key goes to standard output alone, so that it can be piped into a file or a secret store. */
export async function keysAdd(options: KeysAddOptions, io: CommandIo): Promise<ExitCode> {
  const rights = rightsOf(options.right);
  const expiresMs =
    options.expires === undefined ? undefined : expiryOf(options.expires, systemClock().wallMs());
  const { id, text } = await store(options).add({
    tenant: options.tenant,
    rights,
    ...(options.note === undefined ? {} : { note: options.note }),
    ...(expiresMs === undefined ? {} : { expiresMs }),
  });
  if (options.json) {
    const expires = expiresMs === undefined ? undefined : isoTime(expiresMs);
    io.out(JSON.stringify({ id, key: text, tenant: options.tenant, rights, expires }));
    return 0;
  }
  io.out(text);
  io.note(`key ${id} of tenant ${options.tenant} may: ${rights.join(", ")}`);
  io.note(expiresMs === undefined ? "it does not expire" : `it expires on ${isoTime(expiresMs)}`);
  io.note("it is shown only this once; the file keeps a hash of it");
  return 0;
}

/** Lists what is known of the keys of a file. */
export async function keysList(options: KeysOptions, io: CommandIo): Promise<ExitCode> {
  const records = await store(options).list();
  const wallMs = systemClock().wallMs();
  const rows = records.map((record) => ({
    id: record.id,
    tenant: record.tenant,
    rights: record.rights,
    state: stateOf(record, wallMs),
    created: isoTime(record.createdMs),
    expires: record.expiresMs === undefined ? undefined : isoTime(record.expiresMs),
    note: record.note,
  }));
  if (options.json) {
    io.out(JSON.stringify({ keys: rows }));
    return 0;
  }
  // A name with a slip in it is a file without keys, too.
  if (rows.length === 0) io.note(`${options.file} has no keys; the first is made by longshore keys add`);
  io.out(
    table(
      ["key", "tenant", "state", "expires", "rights", "note"],
      rows.map(({ id, tenant, state, expires, rights, note }) => [
        id,
        tenant,
        state,
        expires ?? "-",
        rights.join(","),
        note ?? "",
      ]),
    ),
  );
  return 0;
}

/** Makes a key invalid, for good. A running server that watches the file refuses it within seconds. */
export async function keysRevoke(key: string, options: KeysOptions, io: CommandIo): Promise<ExitCode> {
  // An operator who revokes a key may have only its text.
  const id = /^lsk_([0-9a-f]{16})_/.exec(key)?.[1] ?? key;
  await store(options).revoke(id);
  io.note(`key ${id} is not valid any more`);
  return 0;
}
