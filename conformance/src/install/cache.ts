import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";

/** A peer or tool that cannot be had here, and why: a reason to skip what needs it, never a failure. */
export class Unavailable extends Error {
  constructor(message: string) {
    super(message);
    this.name = "Unavailable";
  }
}

/** The folder of installed peers: `$LONGSHORE_CACHE`, else `~/.cache/longshore`. Never inside the repository. */
export function cacheFolder(): string {
  return process.env["LONGSHORE_CACHE"] ?? join(homedir(), ".cache", "longshore");
}

/** How to make a folder of the cache. */
export interface Recipe {
  readonly name: string;
  /** All that decides what comes out: another text is another folder. */
  readonly contents: readonly string[];
  /** Fills the empty folder. Python's environments know their own path, so it is made where it stays. */
  make(folder: string): Promise<void>;
}

const underWay = new Map<string, Promise<string>>();

/**
 * The folder of a recipe, made when it is not there yet. A folder counts only with its mark, which is written last: an
 * installation that broke off is thrown away and made again. Throws `Unavailable` when it cannot be made.
 */
export function installed(recipe: Recipe): Promise<string> {
  const digest = createHash("sha256").update(recipe.contents.join("\n")).digest("hex").slice(0, 12);
  const folder = join(cacheFolder(), `${recipe.name}-${digest}`);
  const known = underWay.get(folder);
  if (known) return known;
  const made = make(folder, recipe);
  underWay.set(folder, made);
  return made;
}

async function make(folder: string, recipe: Recipe): Promise<string> {
  const mark = join(folder, "installed.txt");
  if (existsSync(mark)) return folder;
  if (process.env["LONGSHORE_OFFLINE"] === "1") {
    throw new Unavailable(`${recipe.name} is not installed and LONGSHORE_OFFLINE=1 forbids fetching it`);
  }
  const lock = `${folder}.lock`;
  await mkdir(cacheFolder(), { recursive: true });
  await take(lock);
  try {
    if (existsSync(mark)) return folder;
    console.error(`installing ${recipe.name} into ${folder} (once) ...`);
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    await recipe.make(folder);
    await writeFile(mark, `${recipe.contents.join("\n")}\n`);
    return folder;
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    throw new Unavailable(`${recipe.name} cannot be installed: ${why}`);
  } finally {
    await rm(lock, { force: true });
  }
}

/** Takes a lock file, which holds the process id of its owner. Waits while the owner lives. */
async function take(lock: string): Promise<void> {
  for (;;) {
    try {
      await writeFile(lock, `${process.pid}`, { flag: "wx" });
      return;
    } catch (thrown) {
      if ((thrown as NodeJS.ErrnoException).code !== "EEXIST") throw thrown;
    }
    const owner = Number(await readFile(lock, "utf8").catch(() => "0"));
    if (owner > 0 && !isAlive(owner)) await rm(lock, { force: true });
    else await setTimeout(500);
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false;
  }
}
