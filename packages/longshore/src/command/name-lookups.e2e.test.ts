import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { writeDouble } from "../../test/models.ts";

/** A network of its own with nothing but loopback: where the kernel lets users make one. */
const isolates =
  spawnSync("unshare", ["-Urmn", "sh", "-c", "ip link set lo up && mount --bind /dev/null /etc/resolv.conf"])
    .status === 0;
const longshore = fileURLToPath(new URL("../../dist/command/main.js", import.meta.url));

/** Is the only name server: notes each name that it is asked for, and answers that there is none. Runs commands one after the other. */
const watcher = `
  import { createSocket } from "node:dgram";
  import { spawn } from "node:child_process";
  const names = [];
  const server = createSocket("udp4").on("message", (query, { port, address }) => {
    const labels = [];
    for (let at = 12; query[at] > 0; at += query[at] + 1) labels.push(query.toString("latin1", at + 1, at + 1 + query[at]));
    names.push(labels.join("."));
    const reply = Buffer.from(query);
    reply[2] = 0x81;
    reply[3] = 0x83;
    server.send(reply, port, address);
  });
  await new Promise((resolve) => server.bind(53, "127.0.0.1", resolve));
  const results = [];
  for (const args of JSON.parse(process.argv[2])) {
    const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "pipe"] });
    let said = "";
    child.stdout.on("data", (data) => (said += data));
    child.stderr.on("data", (data) => (said += data));
    const code = await new Promise((resolve) => child.on("close", resolve));
    results.push({ code, said, names: names.splice(0) });
  }
  console.log(JSON.stringify(results));
  process.exit();
`;

interface Watched {
  readonly code: number;
  readonly said: string;
  /** Names that were looked up. */
  readonly names: readonly string[];
}

describe.skipIf(!isolates)("name lookups", () => {
  let folder: string;
  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "longshore-lookups-"));
    await writeDouble(folder);
    mkdirSync(join(folder, "home"));
    writeFileSync(join(folder, "watcher.mjs"), watcher);
    writeFileSync(join(folder, "resolv.conf"), "nameserver 127.0.0.1\n");
    writeFileSync(join(folder, "x.json"), "[[1, 2, 3, 4]]");
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  function watched(...commands: readonly (readonly string[])[]): readonly Watched[] {
    const script = 'ip link set lo up && mount --bind "$0" /etc/resolv.conf && exec "$@"';
    const { stdout, stderr } = spawnSync(
      "unshare",
      [
        "-Urmn",
        "sh",
        "-c",
        script,
        join(folder, "resolv.conf"),
        process.execPath,
        join(folder, "watcher.mjs"),
        JSON.stringify(commands),
      ],
      { encoding: "utf8", env: { PATH: process.env["PATH"], HOME: join(folder, "home") } },
    );
    expect(stderr).toBe("");
    return JSON.parse(stdout) as readonly Watched[];
  }

  it(
    "are none in a whole run of a model from an empty home folder, where only Longshore's own cache appears",
    { timeout: 600_000 },
    () => {
      const model = join(folder, "double");
      const infer = [longshore, "infer", model, join(folder, "x.json"), "--json"];
      const [control, local, inWasm] = watched(
        ["-e", 'require("node:dns").lookup("watched.example", () => undefined)'],
        infer,
        [...infer, "--runtime", "wasm"],
      );
      // The watch sees lookups.
      expect(control?.names).toContain("watched.example");
      for (const run of [local, inWasm]) {
        expect(run).toMatchObject({ code: 0, names: [] });
        expect(run?.said).toContain("[2,4,6,8]");
      }
      const others = readdirSync(join(folder, "home"), { recursive: true, encoding: "utf8" }).filter(
        (path) => path !== ".cache" && !path.startsWith(".cache/longshore"),
      );
      expect(others).toEqual([]);
    },
  );

  it("are only of the server that is named", { timeout: 600_000 }, () => {
    const [run] = watched([
      longshore,
      "infer",
      "double",
      join(folder, "x.json"),
      "--at",
      "http://store.example:8000",
      "--deadline",
      "2000",
      "--json",
    ]);
    expect(run?.code).not.toBe(0);
    expect(new Set(run?.names)).toEqual(new Set(["store.example"]));
  });
});
