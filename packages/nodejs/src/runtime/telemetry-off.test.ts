import { identityModel } from "@longshore/testkit";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createRequire } from "node:module";
import { type AddressInfo, createServer, type Server } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { builtFile } from "./built-file.ts";

// Windows' build has no telemetry of its own: it writes events to ETW, and the operating system's settings rule those.
const canTrace = spawnSync("strace", ["-f", "-e", "trace=openat", "true"]).status === 0;
const url = (file: string): string => JSON.stringify(builtFile(file).href);
const ort = JSON.stringify(createRequire(import.meta.url).resolve("onnxruntime-node"));

let folder: string;
let model: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "longshore-telemetry-"));
  model = join(folder, "model.onnx");
  writeFileSync(model, identityModel("FP32", ["n"]));
});
afterAll(() => rmSync(folder, { recursive: true }));

const running: ChildProcess[] = [];
const proxies: Server[] = [];
afterEach(async () => {
  for (const proxy of proxies.splice(0)) proxy.close();
  for (const child of running.splice(0)) {
    // A traced program is in the process group of its tracer.
    if (child.exitCode === null && child.pid !== undefined) {
      process.kill(-child.pid, "SIGKILL");
      await once(child, "exit");
    }
  }
});

/** Common beginning of the programs below: a model, a call and one input for it. */
const scene = (): string => `
  import { readFileSync } from "node:fs";
  const bytes = readFileSync(${JSON.stringify(model)});
  const artifact = { digest: "x", byteLength: bytes.length, bytes: async () => new Uint8Array(bytes) };
  const call = { abort: new AbortController().signal, deadlineMs: Infinity };
  const x = { spec: { name: "x", datatype: "FP32", shape: [1] }, bytes: new Uint8Array(4) };
  const run = async (runtime) => {
    const session = await runtime.load(artifact, {}, call);
    for (let runs = 0; runs < 60; runs++) await session.run(new Map([["x", x]]), [], call);
  };`;

/** Runs the model in a worker thread, on the main thread, in a child process and in WebAssembly. */
const everyRuntime = (): string => `${scene()}
  import { onnxRuntime } from ${url("onnx-runtime.js")};
  import { childRuntime } from ${url("child-runtime.js")};
  import { wasmRuntime } from ${url("wasm-runtime.js")};
  import { runnerRuntime } from ${url("runner-runtime.js")};
  import { thisThreadLink } from ${url("this-thread-link.js")};
  import { importOrt } from ${url("import-ort.js")};
  const open = thisThreadLink(importOrt);
  await run(childRuntime());
  await run(onnxRuntime());
  await run(runnerRuntime({ name: "here", backend: "native", providers: ["cpu"], open, maxOutputBytes: 1e6, restarts: false }));
  await run(wasmRuntime());
  console.log("ran");
  setInterval(() => undefined, 60_000);`;

/** The runtime alone, as it is without Longshore. */
const runtimeAlone = (): string => `
  import ort from ${ort};
  await ort.InferenceSession.create(${JSON.stringify(model)});
  console.log("ran");
  setInterval(() => undefined, 60_000);`;

/** A running program with an empty home folder. It reaches other machines only through a proxy that refuses. */
interface Program {
  readonly home: string;
  /** Waits until the program says that its models have run. */
  readonly ran: Promise<void>;
  /** First lines of the requests to the proxy so far: each would have left this machine. */
  readonly requests: readonly string[];
  /** System calls so far that look up a name, connect to a port or open a file of the telemetry, if traced. */
  systemCalls(): readonly string[];
}

async function start(
  name: string,
  script: string,
  env: Readonly<Record<string, string>> = {},
): Promise<Program> {
  const requests: string[] = [];
  const proxy = createServer((socket) => {
    socket.on("error", () => undefined);
    socket.once("data", (data) => {
      requests.push(data.toString("latin1").split("\r\n")[0] ?? "");
      socket.destroy();
    });
  });
  proxies.push(proxy);
  await once(proxy.listen(0, "127.0.0.1"), "listening");
  const proxyUrl = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`;

  const home = join(folder, name);
  mkdirSync(home);
  const file = join(folder, `${name}.mjs`);
  writeFileSync(file, script);
  const trace = join(folder, `${name}.trace`);
  const tracer = canTrace ? ["strace", "-f", "-qq", "-e", "trace=openat,connect,sendto", "-o", trace] : [];
  const [command, ...args] = [...tracer, process.execPath, file];
  const child = spawn(command, args, {
    env: { PATH: process.env["PATH"], HOME: home, TMPDIR: home, https_proxy: proxyUrl, ...env },
    stdio: ["ignore", "pipe", "inherit"],
    detached: true,
  });
  running.push(child);
  const ran = new Promise<void>((resolve, reject) => {
    child.stdout.once("data", () => resolve());
    child.once("exit", (code) => reject(new Error(`the program ended with ${code}`)));
  });
  const telling = /"\/etc\/(?:resolv\.conf|hosts)"|sa_family=AF_INET|mat-debug|\.onnxruntime/;
  return {
    home,
    ran,
    requests,
    systemCalls: () =>
      existsSync(trace)
        ? readFileSync(trace, "utf8")
            .split("\n")
            .filter((line) => telling.test(line))
        : [],
  };
}

const filesIn = (path: string): readonly string[] => readdirSync(path, { recursive: true, encoding: "utf8" });

describe.skipIf(process.platform === "win32")("telemetry of ONNX Runtime", () => {
  it("stays off in worker thread, main thread, child process and WebAssembly: no file, no lookup, no request", async () => {
    const ours = await start("ours", everyRuntime());
    await ours.ran;
    // Checks the test: without the switch the same runtime writes a device ID and a store of events, and reports. It starts
    // later: once it has reported, the other program has run for longer than that takes.
    const alone = await start("alone", runtimeAlone());
    await alone.ran;
    expect(filesIn(alone.home).join()).toContain("deviceid");
    await vi.waitFor(() => expect(alone.requests.join()).toContain("CONNECT "), { timeout: 120_000 });
    expect(filesIn(ours.home)).toEqual([]);
    expect(ours.requests).toEqual([]);
    if (!canTrace) console.warn("name lookups were not watched: strace is missing or may not trace here");
    expect(ours.systemCalls()).toEqual([]);
  });

  it("keeps the operator's setting, also in the child process", async () => {
    const named = (value: string): string => `
      process.env.ORT_DISABLE_TELEMETRY = ${JSON.stringify(value)};
      ${everyRuntime()}`;
    const off = await start("operator-off", named("true"));
    const empty = await start("operator-empty", named(""));
    const on = await start(
      "operator-on",
      `${scene()}
      import { onnxRuntime } from ${url("onnx-runtime.js")};
      process.env.ORT_DISABLE_TELEMETRY = "0";
      await run(onnxRuntime());
      console.log(process.env.ORT_DISABLE_TELEMETRY);
      setInterval(() => undefined, 60_000);`,
    );
    await Promise.all([off.ran, empty.ran, on.ran]);
    expect(filesIn(off.home)).toEqual([]);
    expect(filesIn(empty.home)).toEqual([]);
    expect(filesIn(on.home).join()).toContain("deviceid");
  });

  it("does not load the native build in a worker thread that cannot turn telemetry off", async () => {
    const inner = join(folder, "inner.mjs");
    writeFileSync(
      inner,
      `${scene()}
      import { onnxRuntime } from ${url("onnx-runtime.js")};
      import { parentPort } from "node:worker_threads";
      const outcome = await run(onnxRuntime()).then(() => "ran", ({ reason, message }) => reason + ": " + message);
      parentPort.postMessage(outcome);`,
    );
    const outer = join(folder, "outer.mjs");
    writeFileSync(
      outer,
      `import { Worker } from "node:worker_threads";
      new Worker(new URL(${JSON.stringify(pathToFileURL(inner).href)})).once("message", (outcome) => {
        console.log(outcome);
        process.exit();
      });`,
    );
    const home = join(folder, "nested");
    mkdirSync(home);
    const said = (env: Readonly<Record<string, string>>): string =>
      spawnSync(process.execPath, [outer], {
        env: { PATH: process.env["PATH"], HOME: home, ...env },
        encoding: "utf8",
      }).stdout;
    expect(said({})).toMatch(/^unsupported: .*start the program with ORT_DISABLE_TELEMETRY=1/);
    expect(said({ ORT_DISABLE_TELEMETRY: "1" })).toBe("ran\n");
    expect(filesIn(home)).toEqual([]);
  });
});
