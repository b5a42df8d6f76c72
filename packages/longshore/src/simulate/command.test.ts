import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { command } from "../../test/command.ts";

const guide = join(dirname(fileURLToPath(import.meta.url)), "../../../../docs/guides/simulate.md");
let folder: string;
beforeAll(async () => (folder = await mkdtemp(join(tmpdir(), "longshore-simulate-"))));
afterAll(() => rm(folder, { recursive: true, force: true }));

async function run(...args: readonly string[]): Promise<{ code: number; said: string; noted: string }> {
  const { code, out, notes } = await command("simulate", ...args);
  return { code, said: out, noted: notes };
}

const plain = ["--model", "bytes=20000,localMs=400,serverMs=15", "--requests", "20"];

describe("longshore simulate", () => {
  it("runs every command of the guide, with the files that the guide writes", async () => {
    const text = await readFile(guide, "utf8");
    const names: string[] = [];
    for (const [, name, body] of text.matchAll(/```\w+ file=(\S+)\n([\s\S]*?)```/g)) {
      names.push(name!);
      await writeFile(join(folder, name!), body!);
    }
    expect(names).toEqual(["tunnel.txt", "store.yaml"]);
    const commands = [...text.matchAll(/```console\nlongshore simulate (.*)\n```/g)].map(
      ([, words]) => words!,
    );
    expect(commands).toHaveLength(4);
    for (const command of commands) {
      // Files are named as if the command ran beside them.
      const args = command
        .split(" ")
        .map((word) => (/\.(?:txt|yaml|html|json)$/.test(word) ? join(folder, word) : word));
      const { code, said, noted } = await run(...args);
      expect(code, noted).toBe(0);
      expect(said).toMatch(/longshore +changes/);
    }
    expect(await readFile(join(folder, "store.html"), "utf8")).toContain("Regret");
    const rows = JSON.parse(await readFile(join(folder, "tunnel.json"), "utf8")) as {
      runs: { ways: { rows: unknown[] }[] }[];
    };
    expect(rows.runs[0]?.ways[0]?.rows).toHaveLength(120);
  });

  it("takes a sample with a profile, and prints the same bytes for the same seed", async () => {
    const args = [
      "--model",
      "anomaly",
      "--device",
      "speed=0.02",
      "--trace",
      "1mbit",
      "--requests",
      "20",
      "--json",
      "-",
    ];
    const first = await run(...args);
    expect(first.code, first.noted).toBe(0);
    expect((await run(...args)).said).toBe(first.said);
    expect((await run(...args, "--seed", "2")).said).not.toBe(first.said);
  });

  it("minimises the same objectives as calls", async () => {
    const words = ["--objective", "p95=1,energy=0.2", "--deadline", "900", "--in-time", "0.9"];
    const { code, said, noted } = await run(...plain, "--trace", "3mbit", ...words);
    expect(code, noted).toBe(0);
    expect(said).toContain("sum / oracle");
    expect(noted).toContain("objective p95=1,energy=0.2, seed 1");
  });

  it("says that a file holds fewer arrivals than the requests that were asked for", async () => {
    const few = join(folder, "few.csv");
    await writeFile(few, "0\n1\n2\n");
    const args = [...plain, "--trace", "3mbit", "--arrivals", few];
    const noted = (await run(...args, "--requests", "60")).noted;
    expect(noted).toContain("few.csv holds 3 arrivals, so no more than these of 60 requests are made");
    expect((await run(...args, "--requests", "3")).noted).not.toContain("holds");
  });

  it("writes no figure of answers where nothing can be answered", async () => {
    const { code, said } = await run(...plain, "--trace", "3mbit", "--deadline", "5");
    expect(code).toBe(0);
    expect(said).toMatch(/^oracle .* 0 % +- +-$/m);
    expect(said).not.toContain("NaN");
  });

  it("replays a folder: pairs as one link, named columns, and reports skipped files", async () => {
    const traces = join(folder, "traces");
    await import("node:fs/promises").then(({ mkdir }) => mkdir(traces));
    await writeFile(join(traces, "a.up"), "0\n10\n20\n");
    await writeFile(join(traces, "a.down"), "0\n5\n20\n");
    await writeFile(join(traces, "tunnel.txt"), "0 6\n30 2\n");
    await writeFile(join(traces, "README.txt"), "nothing\n");
    await writeFile(join(traces, "notes"), "nothing\n");
    const { code, said, noted } = await run(...plain, "--trace", traces);
    expect(code, noted).toBe(0);
    expect(said.match(/\S+, every:500/g)).toEqual(["a.up, every:500", "tunnel.txt, every:500"]);
    expect(noted).not.toContain("README");
    expect(noted).toMatch(/left out: trace notes begins with "nothing"/);
    const drive = join(folder, "drive.yaml");
    await writeFile(join(folder, "drive.csv"), "at,up\n0,2000\n1,4000\n");
    await writeFile(
      drive,
      "model: { bytes: 20000, localMs: 400, serverMs: 15 }\nrequests: 10\ntraces: [{ file: drive.csv, rate: up, unit: kbit, time: at }]\n",
    );
    expect((await run(drive)).said).toContain("drive.csv");
  });

  it.each([
    [["--trace", "nowhere"], /nowhere is neither a rate nor a file or folder/],
    [["--trace", "tunnel.txt/.."], /neither a rate nor a file/],
    [[], /the endpoint cloud has no uplink/],
    [
      ["--trace", "5mbit", "--endpoint", "edge,speed=0"],
      /endpoints\.0\.speed must be a number from 0\.001 to 1000, not 0/,
    ],
    [["--trace", "5mbit", "--endpoint", "edge,tier"], /'tier' is not NAME=VALUE/],
    [["--trace", "5mbit", "--arrivals", "every:x"], /every: wants a number from 0\.1 to 3600000/],
    [["--trace", "5mbit", "--arrivals", "nofile"], /neither a pattern nor a file/],
    [["--trace", "5mbit", "--objective", "speed"], /objective must name an objective, .*'speed' is none of/],
    [["--trace", "5mbit", "--in-time", "0.9"], /minInTimeRatio needs a deadline/],
    [["--trace", "5mbit", "--model", "vad"], /vad has no profile to simulate with/],
    [["--trace", "5mbit", "--model", "none.json"], /none\.json cannot be read/],
    [["--trace", "5mbit", "--html", "/no/such/folder/x.html"], /--html .* cannot be written/],
  ])("refuses %j with exit code 2", async (args, message) => {
    const { code, noted } = await run(...plain, ...args);
    expect(code).toBe(2);
    expect(noted).toMatch(message);
  });
});
