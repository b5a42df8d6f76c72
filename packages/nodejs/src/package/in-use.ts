import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { readdir, readFile, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import type { Clock } from "@longshore/core";

/**
 * The files of a shared folder that each process uses. A process lists the files that it uses, in a file of its own whose time
 * it renews; a list that was not renewed for a while is left from a killed process, and counts no more. Process ids would tell
 * sooner, but not across containers and machines that share a folder. All times are those that the file system gives to written
 * files: clocks of two machines may differ.
 */
export interface InUse {
  /** Of this process alone, for names of files. */
  readonly id: string;
  /** Written down when this returns. */
  use(names: readonly string[]): void;
  /** Once for each `use`. */
  leave(names: readonly string[]): void;
  uses(name: string): boolean;
  /** The files that other processes use now. */
  others(): Promise<ReadonlySet<string>>;
}

/** How often a process renews its mark, in milliseconds. */
const renewMs = 20_000;
/** A process whose mark is older than this counts as gone, in milliseconds. */
const goneMs = 60_000;

/** Starts with nothing in use. `folder` is made when something is. */
export function inUse(folder: string, clock: Clock): InUse {
  const id = crypto.randomUUID();
  const own = join(folder, id);
  const counts = new Map<string, number>();
  let renewing: Disposable | undefined;

  function write(): void {
    try {
      if (counts.size === 0) return rmSync(own, { force: true });
      mkdirSync(folder, { recursive: true });
      // Whole or not at all: others may read it now.
      writeFileSync(`${own}.new`, ["", ...counts.keys()].join("\n"), { mode: 0o600 });
      renameSync(`${own}.new`, own);
    } catch {
      // A full disk, or a read-only one: its files can be used nevertheless, and other processes do not know of it.
    }
  }

  /** Renews the time, also on a full disk: the line break that is there is written once more. */
  function touch(): void {
    try {
      writeFileSync(own, "\n", { flag: "r+" });
    } catch {
      // Thrown away while this process stood still.
      write();
    }
  }

  function renew(): void {
    renewing?.[Symbol.dispose]();
    renewing = counts.size === 0 ? undefined : clock.timer(renewMs, renew);
    if (renewing) touch();
  }

  /** A process that ends without disposing of everything need not be waited for. */
  function ended(): void {
    counts.clear();
    write();
  }

  function changed(): void {
    write();
    const used = counts.size > 0;
    if (used === (renewing !== undefined)) return;
    renew();
    if (used) process.on("exit", ended);
    else process.off("exit", ended);
  }

  return {
    id,
    use(names) {
      const before = counts.size;
      for (const name of names) counts.set(name, (counts.get(name) ?? 0) + 1);
      if (counts.size > before) changed();
    },
    leave(names) {
      const before = counts.size;
      for (const name of names) {
        const count = counts.get(name) ?? 0;
        if (count > 1) counts.set(name, count - 1);
        else counts.delete(name);
      }
      if (counts.size < before) changed();
    },
    uses: (name) => counts.has(name),
    async others() {
      const used = new Set<string>();
      touch();
      const { mtimeMs: nowMs } = await stat(own).catch(() => ({ mtimeMs: clock.wallMs() }));
      const processes = await readdir(folder).catch(() => []);
      for (const one of processes) {
        if (one.startsWith(id)) continue;
        const path = join(folder, one);
        // Another process may end, or write, at this moment. The file that is opened first has the time that it has now, over a
        // network, too.
        const text = await readFile(path, "utf8").catch(() => "");
        const found = await stat(path).catch(() => undefined);
        if (!found) continue;
        if (Math.abs(nowMs - found.mtimeMs) > goneMs) await rm(path, { force: true }).catch(() => undefined);
        else for (const name of text.split("\n")) used.add(name);
      }
      return used;
    },
  };
}
