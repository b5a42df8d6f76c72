import { existsSync } from "node:fs";
import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { LongshoreError } from "@longshore/core";
import { diskError } from "@longshore/nodejs";
import { type KeyRecord, newApiKey, parseKeyFile, type Right, writeKeyFile } from "@longshore/server";
import { fastKeyHasher, makePepper, readPepper } from "./pepper.ts";

/** The rights of a new key. */
export interface NewKey {
  readonly tenant: string;
  readonly rights: readonly Right[];
  readonly note?: string;
  /** Milliseconds since the Unix epoch; undefined for never. */
  readonly expiresMs?: number;
}

/** The API keys of a server, in a file that a running server watches. */
export interface KeyStore {
  list(): Promise<readonly KeyRecord[]>;
  /** Gives the key, which cannot be had again. Makes file and pepper with the first one. */
  add(key: NewKey): Promise<{ readonly id: string; readonly text: string }>;
  /** Throws `invalid-input` when there is no such key. */
  revoke(id: string): Promise<void>;
}

async function readRecords(file: string): Promise<readonly KeyRecord[]> {
  if (!existsSync(file)) return [];
  return parseKeyFile(await readFile(file, "utf8"));
}

/** Runs `change` while no other command changes the file, and swaps in the result whole. */
async function change(
  file: string,
  make: (records: readonly KeyRecord[]) => Promise<readonly KeyRecord[]>,
): Promise<void> {
  const next = `${file}.next`;
  try {
    // The new file is the lock too: a command that finds one there is not alone.
    await writeFile(next, "", { flag: "wx", mode: 0o600 });
  } catch (thrown) {
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "EEXIST"))
      throw diskError(thrown, `the key file '${file}'`);
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `'${next}' cannot be made: another command changes the keys, or one was interrupted; if none runs, remove it`,
      { cause: thrown },
    );
  }
  try {
    await writeFile(next, writeKeyFile(await make(await readRecords(file))));
    await rename(next, file);
  } catch (thrown) {
    await rm(next, { force: true });
    throw diskError(thrown, `the key file '${file}'`);
  }
}

/** The keys in `file`, hashed under the pepper in `pepperFile` (default `<file>.pepper`). */
export function keyStore(file: string, wallMs: () => number, pepperFile = `${file}.pepper`): KeyStore {
  return {
    list: () => readRecords(file),
    async add({ tenant, rights, note, expiresMs }) {
      const key = newApiKey();
      const told = {
        id: key.id,
        tenant,
        rights,
        createdMs: wallMs(),
        ...(note === undefined ? {} : { note }),
        ...(expiresMs === undefined ? {} : { expiresMs }),
      };
      // A file that could not be read back must not be written: tenant and note come from a command line.
      parseKeyFile(writeKeyFile([{ ...told, hash: new Uint8Array(32) }]));
      await change(file, async (records) => {
        if (!existsSync(pepperFile) && records.length === 0) await makePepper(pepperFile);
        const hasher = fastKeyHasher(await readPepper(pepperFile));
        return [...records, { ...told, hash: await hasher.hash(key.text) }];
      });
      return key;
    },
    revoke: (id) =>
      change(file, async (records) => {
        if (!records.some((record) => record.id === id)) {
          throw new LongshoreError(
            "invalid-input",
            "resolve",
            "there is no such key in this file; `longshore keys list` has their names",
          );
        }
        return records.map((record) =>
          record.id === id && record.revokedMs === undefined ? { ...record, revokedMs: wallMs() } : record,
        );
      }),
  };
}
