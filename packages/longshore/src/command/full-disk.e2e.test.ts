import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { newOperatorKey } from "@longshore/nodejs";
import { command } from "../../test/command.ts";
import { writeDouble, writeVersion } from "../../test/models.ts";
import { killAll, listening, listeningIn, type ServerProcess } from "../../test/processes.ts";

/** A file system of 1 MB in a namespace of its own: where the kernel lets users make one. */
const mounts =
  spawnSync("unshare", ["-Urm", "sh", "-c", `mount -t tmpfs -o size=1m tmpfs ${tmpdir()}`]).status === 0 &&
  spawnSync("nsenter", ["--version"]).status === 0;
const within = { timeout: 120_000, interval: 100 };

interface SmallDisk {
  /** Path of the disk for processes that are started in it. */
  readonly folder: string;
  /** Begins a command line that runs in it. */
  readonly prefix: readonly string[];
  fill(): void;
  free(): void;
  read(name: string): string;
  write(name: string, text: string): void;
}

describe.skipIf(!mounts)("a server whose disk is full", () => {
  const key = newOperatorKey();
  let folder: string;
  let small: SmallDisk;
  let end: () => void;

  beforeAll(async () => {
    folder = mkdtempSync(join(tmpdir(), "longshore-full-"));
    await writeDouble(join(folder, "models"));
    await writeVersion(join(folder, "own"), "other", "1", (build, x) =>
      build.node("Neg", [x], { outputs: ["y"] }),
    );
    writeFileSync(join(folder, "operator.pem"), key.privatePem);
    writeFileSync(join(folder, "operator.pub"), key.publicLine);
    const mount = join(folder, "small");
    const script = 'mkdir "$0" && mount -t tmpfs -o size=1m tmpfs "$0" && echo mounted && exec sleep 100000';
    const holder = spawn("unshare", ["-Urm", "sh", "-c", script, mount]);
    end = () => void holder.kill("SIGKILL");
    await once(holder.stdout, "data");
    const outside = `/proc/${holder.pid}/root${mount}`;
    const filler = join(outside, "filler");
    small = {
      folder: mount,
      prefix: ["nsenter", "-t", String(holder.pid), "-U", "-m", "--preserve-credentials"],
      fill() {
        const file = openSync(filler, "a");
        const page = Buffer.alloc(4096);
        try {
          for (;;) writeSync(file, page);
        } catch {
          closeSync(file);
        }
      },
      free: () => rmSync(filler),
      read: (name) => readFileSync(join(outside, name), "utf8"),
      write: (name, text) => writeFileSync(join(outside, name), text),
    };
  });
  afterEach(killAll);
  afterAll(() => {
    end();
    rmSync(folder, { recursive: true });
  });

  const body = JSON.stringify({
    inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data: [1, 2, 3, 4] }],
  });
  async function ask({ address }: ServerProcess, model = "double"): Promise<string> {
    const reply = await fetch(`${address}/v2/models/${model}/infer`, { method: "POST", body });
    return reply.ok ? /\[[^\]]*\](?=\}\])/.exec(await reply.text())![0] : String(reply.status);
  }
  const isReady = async ({ address }: ServerProcess): Promise<boolean> =>
    (await fetch(`${address}/v2/health/ready`)).ok;
  const alias = (at: ServerProcess, to: string): ReturnType<typeof command> =>
    command("rollout", "set", "reader", "--model", "double", "--to", to, "--at", at.address);

  it(
    "a gateway answers, keeps the state that it has, says why it keeps no other, and goes on once there is space",
    { timeout: 600_000 },
    async () => {
      const path = (name: string): string => join(small.folder, name);
      const start = (port = "0"): Promise<ServerProcess> =>
        listeningIn(
          small.prefix,
          "gateway",
          "--port",
          port,
          "--data-class",
          "internal",
          "--allow-management",
          "--joins-keep",
          path("joins.json"),
          "--beliefs",
          path("beliefs.json"),
          "--aliases",
          path("aliases.json"),
        );
      const gateway = await start();
      const serve = (): Promise<ServerProcess> =>
        listening("serve", join(folder, "models"), "--port", "0", "--join", gateway.address);
      await serve();
      await vi.waitFor(async () => expect(await ask(gateway)).toBe("[2,4,6,8]"), within);
      // A gateway that just started says that servers may still join it.
      await vi.waitFor(async () => expect(await alias(gateway, "1")).toMatchObject({ code: 0 }), within);
      await vi.waitFor(() => expect(small.read("joins.json")).toContain("127.0.0.1"), within);
      const kept = [small.read("joins.json"), small.read("aliases.json")];
      small.fill();
      await serve();
      const refused = await command("rollout", "remove", "reader", "--at", gateway.address);
      expect(refused.code).not.toBe(0);
      expect(refused.said).toContain("the disk is full (ENOSPC)");
      await vi.waitFor(() => expect(gateway.notes.join("\n")).toContain("the disk is full (ENOSPC)"), within);
      expect(await ask(gateway, "reader")).toBe("[2,4,6,8]");
      expect(await isReady(gateway)).toBe(true);
      expect([small.read("joins.json"), small.read("aliases.json")]).toEqual(kept);
      // It was killed with a full disk: what was kept before is there.
      gateway.stop("SIGKILL");
      await gateway.exited;
      const again = await start(new URL(gateway.address).port);
      expect(await ask(again, "reader")).toBe("[2,4,6,8]");
      small.free();
      expect(await command("rollout", "remove", "reader", "--at", again.address)).toMatchObject({ code: 0 });
      await vi.waitFor(() => {
        const { records } = JSON.parse(small.read("joins.json")) as { readonly records: readonly unknown[] };
        expect(records).toHaveLength(2);
      }, within);
      again.stop();
      expect(await again.exited).toBe(0);
      expect(JSON.parse(small.read("beliefs.json"))).toBeTypeOf("object");
    },
  );

  it(
    "a server without space for its package says so, answers its other models, and fetches it once there is space",
    { timeout: 600_000 },
    async () => {
      const { code } = await command(
        "package",
        "sign",
        join(folder, "models", "double"),
        "--key",
        join(folder, "operator.pem"),
      );
      expect(code).toBe(0);
      const source = await listening("serve", join(folder, "models"), "--port", "0");
      small.fill();
      const server = await listeningIn(
        small.prefix,
        "serve",
        join(folder, "own"),
        "--port",
        "0",
        "--packages-from",
        source.address,
        "--packages-into",
        join(small.folder, "packages"),
        "--operator-keys",
        join(folder, "operator.pub"),
        "--package",
        "double",
      );
      await vi.waitFor(() => expect(server.notes.join("\n")).toContain("disk"), within);
      expect(server.notes.join("\n")).toContain("ENOSPC");
      expect(await ask(server, "other")).toBe("[-1,-2,-3,-4]");
      expect(await isReady(server)).toBe(false);
      small.free();
      await vi.waitFor(async () => expect(await ask(server)).toBe("[2,4,6,8]"), within);
      expect(await isReady(server)).toBe(true);
    },
  );
});
