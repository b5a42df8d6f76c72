import { spawn } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, join, relative } from "node:path";
import { LongshoreError } from "@longshore/core";
import { transformSync } from "esbuild";
import { type PlantedBug, plantedBugs } from "./planted-bugs.ts";
import { fileWith, repositoryRoot, sourceFiles } from "./source-files.ts";

/** The outcome of a planted bug. */
export interface PlantedOutcome {
  readonly bug: PlantedBug;
  /** `stale`: its text does not stand in exactly one file any more, or the code does not load with it. */
  readonly found: "simulator" | "tests" | "stale" | undefined;
  /** The line that showed it. */
  readonly how: string;
}

/** How bugs are looked for. */
export interface PlantedOptions {
  /** Seeds that the simulator runs for each; it stops at the first that breaks something. */
  readonly seeds: number;
  /** Of these names only; default all. */
  readonly names?: readonly string[];
  readonly done?: (outcome: PlantedOutcome) => void;
}

const vitest = "node_modules/vitest/vitest.mjs";

/** The longest that one command may take, in milliseconds: a bug may make something wait for ever. */
const longestMs = 900_000;
/** The same of one test: one that waits for ever is then named as the one that failed. */
const longestTestMs = 300_000;

/**
 * A copy of the built packages, in which files can be replaced without harm: `node_modules` leads to the installed packages,
 * except for those of this repository.
 */
function sandbox(): { readonly folder: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), "longshore-planted-"));
  const skipped = new Set(["node_modules", ".cache"]);
  const filter = (path: string): boolean => !skipped.has(basename(path));
  for (const part of ["packages", "tools", "package.json", "tsconfig.base.json", "tsconfig.json"])
    cpSync(join(repositoryRoot, part), join(folder, part), { recursive: true, filter });
  const link = (from: string, to: string): void => symlinkSync(from, to, "junction");
  mkdirSync(join(folder, "node_modules", "@longshore"), { recursive: true });
  const installed = join(repositoryRoot, "node_modules");
  for (const name of readdirSync(installed)) {
    if (name !== "@longshore" && name !== "longshore")
      link(join(installed, name), join(folder, "node_modules", name));
  }
  const own = new Map<string, string>();
  for (const name of readdirSync(join(folder, "packages"))) {
    const manifest = JSON.parse(readFileSync(join(folder, "packages", name, "package.json"), "utf8")) as {
      name: string;
    };
    own.set(manifest.name, join(folder, "packages", name));
    try {
      link(
        join(repositoryRoot, "packages", name, "node_modules"),
        join(folder, "packages", name, "node_modules"),
      );
    } catch {
      // Most have none of their own.
    }
  }
  for (const other of ["adapters", "samples", "conformance", "bench"])
    link(join(repositoryRoot, other), join(folder, other));
  for (const name of readdirSync(join(installed, "@longshore"))) {
    const known = own.get(`@longshore/${name}`);
    link(known ?? join(installed, "@longshore", name), join(folder, "node_modules", "@longshore", name));
  }
  const main = own.get("longshore");
  if (main !== undefined) link(main, join(folder, "node_modules", "longshore"));
  // The packages are built already, with the bug in them.
  const config = readFileSync(join(repositoryRoot, "vitest.config.ts"), "utf8");
  writeFileSync(join(folder, "vitest.config.ts"), config.replace(/^\s*globalSetup:.*$/m, ""));
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

/** Runs a command in the copy; resolves with what it said, and whether it ended well and in time. */
function run(
  folder: string,
  args: readonly string[],
): Promise<{ readonly ok: boolean; readonly output: string; readonly timedOut: boolean }> {
  return new Promise((resolve) => {
    const child = spawn(process.execPath, args, {
      cwd: folder,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, NO_COLOR: "1", LONGSHORE_TESTS: "all" },
    });
    const chunks: Buffer[] = [];
    child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
    child.stderr.on("data", (chunk: Buffer) => chunks.push(chunk));
    let timedOut = false;
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, longestMs);
    child.on("close", (code) => {
      clearTimeout(timer);
      resolve({ ok: code === 0, output: Buffer.concat(chunks).toString("utf8"), timedOut });
    });
  });
}

/** Errors of code that does not load: these say nothing about the bug. */
const loadErrors =
  /ERR_MODULE_NOT_FOUND|MODULE_NOT_FOUND|Cannot find (?:module|package)|Failed to (?:load|resolve)|does not provide an export/;

/**
 * Reads in the output of a command whether it found a planted bug. Only a seed or a test that is named as failed shows one. A command that ends
 * badly without naming any has not run: the first line that says why is in `broken`.
 */
export function readOutput(output: string, ok: boolean): { readonly how?: string; readonly broken?: string } {
  if (ok) return {};
  const lines = output.split("\n").map((line) => line.trim().slice(0, 160));
  const notLoaded = lines.find((line) => loadErrors.test(line));
  if (notLoaded !== undefined) return { broken: notLoaded };
  const how = lines.find((line) => /^failed {2}seed \d|^FAIL\s.+\.test\.ts > /.test(line));
  return how === undefined ? { broken: lines.findLast((line) => line !== "") ?? "it said nothing" } : { how };
}

/** A command that ended without having looked for a bug. */
class NotRun extends Error {}

/** Plants one bug after the other and says what finds each. */
export async function runPlanted({ seeds, names, done }: PlantedOptions): Promise<readonly PlantedOutcome[]> {
  const unknown = names?.filter((name) => !plantedBugs.some((bug) => bug.name === name)) ?? [];
  if (unknown.length > 0) {
    const why = `no planted bug is named ${unknown.join(", ").slice(0, 80)}; known are ${plantedBugs.map(({ name }) => name).join(", ")}`;
    throw new LongshoreError("invalid-configuration", "plan", why);
  }
  using copy = sandbox();
  const { folder } = copy;
  const { code, tests } = sourceFiles();
  const outcomes: PlantedOutcome[] = [];

  /** Throws for a command that did not run, so that it counts as nothing. */
  function shown(output: string, ok: boolean): string | undefined {
    const { how, broken } = readOutput(output, ok);
    if (broken !== undefined) throw new NotRun(broken);
    return how;
  }

  async function bySimulator(): Promise<string | undefined> {
    const main = "packages/fault-simulator/dist/command/main.js";
    const { ok, output, timedOut } = await run(folder, [
      main,
      "--seeds",
      String(seeds),
      "--jobs",
      "1",
      "--first",
    ]);
    // A slow machine ends nothing in time either: only what the simulator says counts.
    return timedOut ? undefined : shown(output, ok);
  }

  async function byTests(bug: PlantedBug, restore: () => void): Promise<string | undefined> {
    const paths = tests.filter((path) => bug.tests.includes(basename(path)));
    const limits = [`--testTimeout=${longestTestMs}`, `--hookTimeout=${longestTestMs}`];
    const files = paths.map((path) => relative(repositoryRoot, path));
    const { ok, output, timedOut } = await run(folder, [vitest, "run", "--bail", "1", ...limits, ...files]);
    if (timedOut) return undefined;
    const how = shown(output, ok);
    if (how === undefined) return undefined;
    // That a file fails says something only where it does not fail without the bug.
    const failed = files.filter((path) => new RegExp(`FAIL\\s+${path.replaceAll(".", "\\.")}`).test(output));
    restore();
    const again = await run(folder, [vitest, "run", ...limits, ...(failed.length > 0 ? failed : files)]);
    return again.ok ? how : undefined;
  }

  async function look(bug: PlantedBug): Promise<PlantedOutcome> {
    const file = fileWith(bug.search, code);
    if (!file) return { bug, found: "stale", how: "its text does not stand in exactly one file" };
    const planted = file.text.replace(bug.search, () => bug.replace);
    const { code: script } = transformSync(planted, { loader: "ts", target: "es2023", format: "esm" });
    const built = join(
      folder,
      relative(repositoryRoot, file.path).replace("/src/", "/dist/").replace(/\.ts$/, ".js"),
    );
    const before = readFileSync(built, "utf8");
    const restore = (): void => writeFileSync(built, before);
    const plant = (): void =>
      writeFileSync(built, script.replaceAll(/(from\s*"\.{1,2}\/[^"]+)\.ts"/g, '$1.js"'));
    try {
      const ways = [
        ["simulator", bySimulator],
        ["tests", () => byTests(bug, restore)],
      ] as const;
      for (const [found, look] of bug.testsFirst ? ways.toReversed() : ways) {
        plant();
        const how = await look();
        if (how !== undefined) return { bug, found, how };
      }
      return { bug, found: undefined, how: "" };
    } catch (thrown) {
      if (!(thrown instanceof NotRun)) throw thrown;
      return { bug, found: "stale", how: `the code does not run with it: ${thrown.message}` };
    } finally {
      restore();
    }
  }

  const chosen = plantedBugs.filter(({ name }) => !names || names.includes(name));
  const broken = await bySimulator();
  if (broken !== undefined) {
    const why = `the simulator finds something without any planted bug: ${broken}`;
    throw new LongshoreError("invalid-configuration", "plan", why);
  }
  for (const bug of chosen) {
    const outcome = await look(bug);
    outcomes.push(outcome);
    done?.(outcome);
  }
  return outcomes;
}
