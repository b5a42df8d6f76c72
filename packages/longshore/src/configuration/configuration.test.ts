import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { float32Tensor } from "@longshore/core";
import { replaceFile } from "@longshore/nodejs";
import { manualClock } from "@longshore/testkit";
import { writeDouble } from "../../test/models.ts";
import { killAll, listening, started } from "../../test/processes.ts";
import { runCommand } from "../command/run-command.ts";
import { servingCommand } from "../command/serving-command.ts";
import { openOffloader } from "../compose/open-offloader.ts";
import { watchSettings } from "./live.ts";
import { commandOnly, endpointOptions, sections } from "./settings.ts";
import { settle } from "./settle.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-config-"));
  await mkdir(join(folder, "models"));
  await writeDouble(join(folder, "models"));
  await writeFile(join(folder, "edge.key"), "secret");
});
afterEach(killAll);
afterAll(() => rm(folder, { recursive: true, force: true }));

async function written(text: string, name = "longshore.yaml"): Promise<string> {
  const file = join(folder, name);
  await writeFile(file, text);
  return file;
}

async function ran(environment: Readonly<Record<string, string>>, ...args: readonly string[]) {
  const out: string[] = [];
  const notes: string[] = [];
  const code = await runCommand(args, {
    out: (text) => void out.push(text),
    note: (text) => void notes.push(text),
    progress: () => undefined,
    environment,
    stop: new AbortController().signal,
  });
  return { code, out: out.join("\n"), notes: notes.join("\n") };
}

const silent = {
  out: () => undefined,
  note: () => undefined,
  progress: () => undefined,
  environment: {},
  stop: new AbortController().signal,
};

describe("the settings", () => {
  it("give each option of serve and gateway one key in the file", () => {
    const inFile = Object.values(sections).flatMap(({ options }) => Object.values(options));
    expect(new Set(inFile).size).toBe(inFile.length);
    const known = new Set([...inFile, ...endpointOptions, ...commandOnly]);
    const options = [servingCommand("serve", silent), servingCommand("gateway", silent)].flatMap((command) =>
      command.options.map((option) => option.attributeName()),
    );
    expect(options.filter((name) => !known.has(name))).toEqual([]);
    expect([...known].filter((name) => !options.includes(name))).toEqual([]);
  });

  it("are grouped in the help, the five common ones first", async () => {
    const { out } = await ran({}, "serve", "--help");
    const heads = out.split("\n").filter((line) => /^[A-Z][a-z]+:$/.test(line));
    expect(heads.slice(0, 4)).toEqual(["Arguments:", "Common:", "Server:", "Listeners:"]);
    const common = out.slice(out.indexOf("Common:"), out.indexOf("Server:"));
    expect(common.match(/^ {2}--[a-z-]+/gm)).toEqual([
      "  --config",
      "  --host",
      "  --port",
      "  --at",
      "  --identity",
    ]);
  });
});

describe("config check", () => {
  it.each([
    ["listeners: { prot: 9000 }", /:1: listeners\.prot is an unknown key; known here: host, port/],
    ["listener: {}", /:1: listener is an unknown key; known here: server, listeners/],
    ["listeners:\n  port: 70000", /:2: listeners\.port is 70000; it must be a whole number from 0 to 65535/],
    [
      "listeners: { maxBody: 64MB }",
      /listeners\.maxBody is '64MB'; .* of 1 or more, in bytes and without a unit/,
    ],
    ["listeners: { drainSeconds: 30s }", /listeners\.drainSeconds is '30s'; .*in seconds/],
    ["listeners: { maxConnections: -1 }", /listeners\.maxConnections is -1/],
    ["listeners: { idleSeconds: 1e99 }", /listeners\.idleSeconds is 1e\+99; .*to 2000000/],
    ["listeners: { host: true }", /listeners\.host is true; it must be a text/],
    [
      "prices: { perSecond: .inf }",
      /prices\.perSecond is .*; it must be a number from 0 to 1000000000000000, in micros/,
    ],
    ["prices: { perSecond: -4 }", /prices\.perSecond is -4/],
    ["models: { runtime: cuda }", /models\.runtime is 'cuda'; it must be one of onnxruntime, wasm/],
    ["models: { providers: 'cpu,cpu' }", /:1: models\.providers: .*each once/],
    ["models: { load: all }", /models\.load is 'all'; it must be a list/],
    ["endpoints: [{ zone: eu }]", /endpoints\[0\]\.address is missing/],
    ["endpoints:\n  - address: http://u:p@a", /:2: endpoints\[0\]\.address .*without a password/],
    ["endpoints: [{ address: 'http://a', key: none.key }]", /none\.key/],
    [
      "listeners: { port: 9000, managePort: 9000, manageHost: 0.0.0.0 }",
      /--port \(listeners\.port\) and --manage-port \(listeners\.managePort\) are both 9000/,
    ],
    ["listeners: { tlsCert: a.pem }", /--tls-cert and --tls-key go together/],
    ["server: [", /not valid YAML/],
    ["", /wrong\.yaml is empty/],
    ["- 1", /the file is \[1\]; it must be a mapping/],
    ["server: {}\n---\nserver: {}", /:2: a second YAML document begins here/],
  ])("refuses %j", async (text, message) => {
    const file = await written(text, "wrong.yaml");
    const { code, notes } = await ran({}, "config", "check", file);
    expect(notes).toMatch(message);
    expect(code).toBe(2);
  });

  it("accepts a good file, and names the settings that the command does not use", async () => {
    const file = await written("server: { zone: eu }\nmodels: { workers: 2 }\n", "good.yaml");
    expect((await ran({}, "config", "check", file)).out).toContain("2 settings of the file are used");
    const { out } = await ran({}, "config", "check", file, "--as", "gateway");
    expect(out).toContain("1 setting of the file is used; these are not: models.workers");
  });
});

describe("config show", () => {
  it("puts flags over the environment over the file over defaults, and names where each comes from", async () => {
    const file = await written(
      "server:\n  zone: eu\nlisteners:\n  host: 127.0.0.9\n  port: 9000\n",
      "show.yaml",
    );
    const environment = { LONGSHORE_HOST: "127.0.0.2", LONGSHORE_PORT: "9001", LONGSHORE_LOAD_MODEL: "a b" };
    const { out } = await ran(environment, "config", "show", file, "--json", "--", "--port", "9002");
    const settings = JSON.parse(out) as { readonly path: string }[];
    const of = (path: string) => settings.find((one) => one.path === path);
    expect(of("listeners.port")).toMatchObject({ value: 9002, origin: "flag", where: "--port" });
    expect(of("listeners.host")).toMatchObject({ value: "127.0.0.2", where: "LONGSHORE_HOST" });
    expect(of("server.zone")).toMatchObject({ value: "eu", origin: "file", where: `${file}:2` });
    expect(of("models.load")).toMatchObject({ value: ["a", "b"], origin: "environment" });
    expect(of("models.queue")).toMatchObject({ value: 256, origin: "default" });
  });

  it("shows no secret, and ignores variables that Kubernetes sets for a service", async () => {
    const file = await written(
      "endpoints: [{ address: 'http://a:1', key: edge.key }]\ndirectory: { from: 'http://me:pass@b' }\n",
      "secret.yaml",
    );
    const { out } = await ran({ LONGSHORE_PORT: "tcp://10.0.0.1:8000" }, "config", "show", file);
    expect(out).not.toMatch(/secret\b(?!\.yaml)|pass/);
    expect(out).toContain("http://***@b");
    expect(out).toMatch(/listeners\.port +8000 +default/);
    const wrong = await ran({ LONGSHORE_PORT: "many" }, "config", "show", file);
    expect(wrong.notes).toContain("the variable LONGSHORE_PORT is 'many'; it must be a whole number");
  });

  it("names misspelt variables with the nearest setting, and no others", async () => {
    const file = await written("listeners: { port: 8000 }\n", "misspelt.yaml");
    const environment = {
      LONGSHORE_PROT: "9001",
      LONGSHORE_MAXBODY: "1",
      LONGSHORE_HOST: "127.0.0.2",
      LONGSHORE_DATA: "data",
      LONGSHORE_SOMETHING_ELSE: "1",
      LONGSHORE_SERVICE_PORT: "8000",
      LONGSHORE_PORT_8000_TCP: "tcp://10.0.0.1:8000",
    };
    for (const how of ["check", "show"]) {
      const { code, notes } = await ran(environment, "config", how, file);
      expect([code, notes.split("\n")]).toEqual([
        0,
        [
          "the variable LONGSHORE_PROT is no setting and is ignored; did you mean LONGSHORE_PORT?",
          "the variable LONGSHORE_MAXBODY is no setting and is ignored; did you mean LONGSHORE_MAX_BODY?",
        ],
      ]);
    }
  });

  it("refuses flags for --at beside endpoints of the file", async () => {
    const file = await written("endpoints: [{ address: 'http://a:1' }]\n", "mixed.yaml");
    const mixed = await ran({}, "config", "show", file, "--", "--at-zone", "eu");
    expect(mixed.notes).toContain("--at-zone is for the servers of --at");
    const { out } = await ran({}, "config", "show", file, "--", "--at", "http://b:1", "--at-zone", "eu");
    expect(out).toMatch(/endpoints .*not used/);
  });
});

const inputs = { x: float32Tensor("x", [1, 4], new Float32Array([1, 2, 3, 4])) };

describe("one file", () => {
  it("starts a server and a gateway, and an app finds both models and endpoints in its own", async () => {
    const serving = await written("models: { repository: models }\nlisteners: { port: 0 }\n", "serve.yaml");
    const server = await listening("serve", "--config", serving);
    const gating = await written(
      `listeners: { port: 0 }\npolicy: { dataClass: public }\nendpoints:\n  - address: ${server.address}\n    key: edge.key\n    prices: { perRequest: 5 }\n`,
      "gateway.yaml",
    );
    const gate = await listening("gateway", "--config", gating);
    const file = await written(
      `endpoints: [{ address: "${gate.address}", prices: { perRequest: 2 } }]\npolicy: { dataClass: public }\nmodels: { workers: 2 }\n`,
      "app.yaml",
    );
    const app = await openOffloader({ configFile: file });
    const { where, costMicros } = await app.infer("double", inputs, { deadlineMs: 60_000 });
    expect(where).toBe(gate.address.slice("http://".length));
    expect(costMicros).toBe(5);
    await app.close();
    const wrong = await written("models: { repositori: models }\n", "wrong-app.yaml");
    await expect(openOffloader({ configFile: wrong })).rejects.toMatchObject({
      reason: "invalid-configuration",
      message: expect.stringContaining("models.repositori is an unknown key"),
    });
  }, 60_000);

  it("is read again on SIGHUP, whole or not at all", async () => {
    const quiet =
      "listeners: { port: 0, lingerSeconds: 0 }\nmodels: { repository: models }\ntelemetry: { logLevel: none }\n";
    const file = await written(quiet, "live.yaml");
    const { child, notes, exited } = started("serve", "--config", file, "--no-grpc-port");
    await vi.waitFor(() => expect(child.stdout.readableLength).toBeGreaterThan(0), 30_000);
    const said = (text: string): Promise<void> =>
      vi.waitFor(() => expect(notes.join("\n")).toContain(text), { timeout: 30_000, interval: 50 });
    await replaceFile(file, quiet.replace("none", "info").replace("port: 0", "port: 1"));
    child.kill("SIGHUP");
    await said("listeners.port needs a restart, so nothing of the change holds yet");
    await replaceFile(file, quiet.replace("none", "info"));
    child.kill("SIGHUP");
    await said("was read again: changed telemetry.logLevel");
    child.kill("SIGTERM");
    expect(await exited).toBe(0);
  }, 60_000);
});

it("a file that changes is taken whole or not at all", async () => {
  const clock = manualClock();
  const file = await written("telemetry: { logLevel: info, traceRate: 1 }\n", "watched.yaml");
  const command = servingCommand("serve", silent);
  command.parseOptions(["--config", file]);
  const reports: string[] = [];
  const levels: unknown[] = [];
  const settled = await settle(command, {});
  using settings = await watchSettings(command, settled, {
    clock,
    environment: {},
    report: (text) => void reports.push(text),
    check: async () => undefined,
    everyMs: 10,
  });
  settings.follow(({ options }) => void levels.push([options["logLevel"], options["traceRate"]]));
  const change = async (text: string): Promise<string> => {
    const before = reports.length;
    await replaceFile(file, text);
    await vi.waitFor(() => {
      void clock.advance(10);
      expect(reports.length).toBeGreaterThan(before);
    });
    return reports.at(-1) ?? "";
  };
  expect(await change("telemetry: { logLevel: error, traceRate: -1 }\n")).toMatch(
    /is wrong; the settings before hold on .*telemetry\.traceRate is -1/,
  );
  expect(await change("telemetry: { logLevel: error }\nmodels: { queue: 5 }\n")).toContain(
    "models.queue needs a restart",
  );
  expect(levels).toEqual([]);
  expect(await change("telemetry: { logLevel: error, traceRate: 7 }\n")).toContain(
    "changed telemetry.logLevel, telemetry.traceRate",
  );
  expect(levels).toEqual([["error", 7]]);
});

it("the published schema is that of the options", async () => {
  const { out } = await ran({}, "config", "schema");
  const published = await readFile(new URL("../../longshore.schema.json", import.meta.url), "utf8");
  expect(JSON.parse(published)).toEqual(JSON.parse(out));
});
