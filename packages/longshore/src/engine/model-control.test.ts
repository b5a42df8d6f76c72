import { folderStore } from "@longshore/nodejs";
import type { IndexEntry, ModelStore } from "@longshore/engine";
import { manualClock, settle, tritonModels, writeModels } from "@longshore/testkit";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { command } from "../../test/command.ts";
import { runCommand } from "../command/run-command.ts";
import { controlModels, missingModels } from "./model-control.ts";
import { type RunningServer, serve, type ServeOptions } from "../compose/serve.ts";

/** Models coming and going on a real server, and sequences over HTTP as Triton's clients send them. */
let folder: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "longshore-control-"));
  await writeModels(folder, {
    ...tritonModels(),
    "guest/model.yaml": "trusted: false\n",
    "guest/1/model.onnx": tritonModels()["identity_fp32/1/model.onnx"] ?? "",
    "broken/1/model.onnx": "no model",
  });
});
afterAll(() => rmSync(folder, { recursive: true }));

/** For what looks into no index. */
const noIndex = { index: () => Promise.resolve([]), report: () => undefined };

async function running(
  options: Partial<ServeOptions>,
  work: (ask: Ask, server: RunningServer) => Promise<void>,
): Promise<void> {
  const server = await serve({ store: folderStore(folder), port: 0, allowManagement: true, ...options });
  try {
    await work(asker(server.address), server);
  } finally {
    await server.close(1000);
  }
}

/** The fields of replies that are read here; the request decides which of them is there. */
interface Told {
  readonly error: string;
  readonly max_batch_size: number;
  readonly outputs: readonly { readonly name: string; readonly data: readonly number[] }[];
  readonly parameters: Readonly<Record<string, string>>;
}
interface Answer {
  readonly status: number;
  readonly body: Told;
}
type Ask = (path: string, body?: object, headers?: Record<string, string>) => Promise<Answer>;

function asker(address: string): Ask {
  return async (path, body, headers = {}) => {
    const reply = await fetch(`${address}${path}`, {
      ...(body ? { method: "POST", body: JSON.stringify(body) } : {}),
      headers,
    });
    // State comes as binary data after the JSON.
    const json = Number(reply.headers.get("inference-header-content-length") ?? Infinity);
    const text = (await reply.text()).slice(0, json);
    return { status: reply.status, body: JSON.parse(text === "" ? "{}" : text) as Told };
  };
}

const tensor = (name: string, datatype: string, shape: readonly number[], data: readonly unknown[]) => ({
  name,
  datatype,
  shape,
  data,
});
const step = (value: number, parameters: object, ...state: readonly object[]): object => ({
  inputs: [tensor("INPUT", "INT32", [1, 1], [value]), ...state],
  parameters,
});

describe("a server under explicit control", () => {
  it("loads at the start and over the network, and reports failures", async () => {
    const reported: string[] = [];
    const options: Partial<ServeOptions> = {
      modelControl: "explicit",
      loadModels: ["simple", "broken"],
      exitOnError: false,
      report: (text) => void reported.push(text),
    };
    await running(options, async (ask, { engine }) => {
      expect((await ask("/v2/models/simple/ready")).status).toBe(200);
      expect((await ask("/v2/models/guest/ready")).status).toBe(404);
      expect(reported).toEqual([expect.stringMatching(/^failed to load 'broken'/)]);
      const entry = async (name: string) => (await engine.index()).find((one) => one.name === name);
      expect(await entry("simple")).toEqual({ name: "simple", version: "1", state: "ready" });
      expect(await entry("broken")).toMatchObject({ state: "unavailable" });
      expect(await ask("/v2/repository/index", {})).toMatchObject({
        status: 200,
        body: expect.arrayContaining([
          { name: "simple", version: "1", state: "READY", reason: "" },
          expect.objectContaining({ name: "broken", state: "UNAVAILABLE" }),
        ]) as unknown,
      });
      // A server is ready when it has all that it was started for.
      expect((await ask("/v2/health/ready")).status).toBe(503);
      expect((await ask("/v2/repository/models/guest/load", {})).status).toBe(200);
      expect((await ask("/v2/repository/models/broken/load", {})).status).not.toBe(200);
      expect((await ask("/v2/health/ready")).status).toBe(503);
      const guest = { inputs: [tensor("INPUT0", "FP32", [1, 2], [1, 2])] };
      expect((await ask("/v2/models/guest/infer", guest)).body.outputs[0]?.data).toEqual([1, 2]);
      expect((await ask("/v2/repository/models/guest/unload", {})).status).toBe(200);
      expect((await ask("/v2/models/guest/infer", guest)).status).toBe(404);
      const wrong = await ask("/v2/repository/models/wrong/load", {});
      expect(wrong.body.error).toMatch(/^failed to load 'wrong'/);
      const override = { parameters: { config: '{"max_batch_size":"16"}' } };
      expect((await ask("/v2/repository/models/simple/load", override)).status).toBe(200);
      expect((await ask("/v2/models/simple/config")).body.max_batch_size).toBe(16);
    });
  });
});

describe("a repository that loads at first requests", () => {
  it("names models that cannot be loaded at the start, and is not ready while there is no other", async () => {
    const own = mkdtempSync(join(tmpdir(), "longshore-broken-"));
    const onnx = tritonModels()["identity_fp32/1/model.onnx"] ?? "";
    await writeModels(own, { "folder/1/model.onnx/x.txt": "", "empty/1/notes.txt": "" });
    const reported: string[] = [];
    const report = (text: string): void => void reported.push(text);
    try {
      await running({ store: folderStore(own), report }, async (ask) => {
        const ready = async () => (await ask("/v2/health/ready")).status;
        expect(await ready()).toBe(503);
        await expect
          .poll(() => reported)
          .toEqual([
            "model empty version 1 cannot be served: its file model.onnx is missing; there are notes.txt",
            "model folder version 1 cannot be served: model.onnx is a folder, not a file",
          ]);
        expect((await ask("/v2/repository/index", {})).body).toEqual([
          expect.objectContaining({ name: "empty", state: "UNAVAILABLE" }),
          expect.objectContaining({ name: "folder", state: "UNAVAILABLE" }),
        ]);
        expect((await ask("/v2/models/folder/ready")).body.error).toContain("is a folder, not a file");
        await writeModels(own, { "empty/1/model.onnx": onnx });
        await expect.poll(ready).toBe(200);
      });
    } finally {
      rmSync(own, { recursive: true });
    }
  });

  it("refuses to start with execution providers that do not exist, or of which none works", async () => {
    const start = (providers: readonly string[]) =>
      serve({ store: folderStore(folder), port: 0, providers }).then((server) => server.close(0));
    await expect(start(["bogus"])).rejects.toThrow(/no execution provider 'bogus'; there are cpu, cuda/);
    await expect(start(["coreml"])).rejects.toThrow(/no execution provider of \[coreml\] works here/);
  });
});

describe("a model's configuration", () => {
  it("is shown as it was read, in Triton's JSON, after any later change of the folder", async () => {
    const own = mkdtempSync(join(tmpdir(), "longshore-configuration-"));
    const onnx = tritonModels()["identity_fp32/1/model.onnx"] ?? "";
    const port = (kind: string, name: string): string =>
      `${kind} { name: "${name}" data_type: TYPE_FP32 dims: -1 }`;
    await writeModels(own, {
      "tuned/1/model.onnx": onnx,
      "tuned/config.pbtxt": `platform: "onnxruntime_onnx" max_batch_size: 8
        ${port("input", "INPUT0")} ${port("output", "OUTPUT0")}
        optimization { graph { level: 1 } eager_batching: true } metric_tags { key: "team" value: "till" }
        model_warmup { name: "one" batch_size: 1 inputs { key: "INPUT0" value { data_type: TYPE_FP32 dims: 4 zero_data: true } } }`,
      "chain/1/nothing.txt": "",
      "chain/config.pbtxt": `platform: "ensemble" max_batch_size: 8 ${port("input", "A")} ${port("output", "B")}
        ensemble_scheduling { step { model_name: "tuned" model_version: -1
          input_map { key: "INPUT0" value: "A" } output_map { key: "OUTPUT0" value: "B" } } }`,
      "bare/1/model.onnx": onnx,
      "bare/3/model.onnx": onnx,
    });
    try {
      await running({ store: folderStore(own) }, async (ask) => {
        const tuned = await ask("/v2/models/tuned/config");
        expect(tuned.body).toMatchObject({
          version_policy: { latest: { num_versions: 1 } },
          optimization: { priority: "PRIORITY_DEFAULT", graph: { level: 1 }, eager_batching: true },
          metric_tags: { team: "till" },
          model_warmup: [
            { inputs: { INPUT0: { data_type: "TYPE_FP32", dims: [4], zero_data: true } }, batch_size: 1 },
          ],
        });
        const { body: chain } = await ask("/v2/models/chain/config");
        expect(chain).toMatchObject({
          ensemble_scheduling: { step: [{ input_map: { INPUT0: "A" }, output_map: { OUTPUT0: "B" } }] },
        });
        const { body: bare } = await ask("/v2/models/bare/config");
        expect(bare).toMatchObject({ version_policy: { all: {} } });
        writeFileSync(join(own, "tuned/config.pbtxt"), "broken {");
        expect(await ask("/v2/models/tuned/config")).toEqual(tuned);
        const config = '{"maxBatchSize":"4","versionPolicy":{"specific":{"versions":["1"]}}}';
        expect((await ask("/v2/repository/models/tuned/load", { parameters: { config } })).status).toBe(200);
        const { body: loaded } = await ask("/v2/models/tuned/config");
        expect(loaded).toMatchObject({ max_batch_size: 4, version_policy: { specific: { versions: [1] } } });
        expect(loaded).not.toHaveProperty("maxBatchSize");
      });
    } finally {
      rmSync(own, { recursive: true });
    }
  });
});

describe("a server that is to load models at the start", () => {
  it("does not start without one that cannot be loaded, and leaves its port", async () => {
    let port = 0;
    await running({}, (_ask, { address }) => Promise.resolve(void (port = Number(new URL(address).port))));
    const options: Partial<ServeOptions> = { port, loadModels: ["simple", "broken"] };
    await expect(running(options, () => Promise.reject(new Error("it started")))).rejects.toMatchObject({
      reason: "invalid-model",
      message: expect.stringMatching(/^failed to load 'broken'.*--no-exit-on-error/s) as unknown,
    });
    await running({ port, loadModels: ["simple"] }, async (ask) => {
      expect((await ask("/v2/health/ready")).status).toBe(200);
    });
  });

  it("is ready once a failed model was loaded after all", async () => {
    const options: Partial<ServeOptions> = {
      loadModels: ["mended"],
      exitOnError: false,
      report: () => undefined,
    };
    await writeModels(folder, { "mended/1/model.onnx": "no model" });
    await running(options, async (ask) => {
      expect((await ask("/v2/health/ready")).status).toBe(503);
      await writeModels(folder, {
        "mended/1/model.onnx": tritonModels()["identity_fp32/1/model.onnx"] ?? "",
      });
      expect((await ask("/v2/repository/models/mended/load", {})).status).toBe(200);
      expect((await ask("/v2/health/ready")).status).toBe(200);
      // Unloading an unknown model succeeds, since it is not loaded.
      expect((await ask("/v2/repository/models/nobody/unload", {})).status).toBe(200);
    });
    rmSync(join(folder, "mended"), { recursive: true });
  });

  it("respects loads and unloads while others of them are still being loaded", async () => {
    let port = 0;
    await running({}, (_ask, { address }) => Promise.resolve(void (port = Number(new URL(address).port))));
    const files = folderStore(folder);
    let open: () => void = () => undefined;
    const opened = new Promise<void>((resolve) => (open = resolve));
    const store: ModelStore = {
      list: (path) => files.list(path),
      async read(path) {
        if (path.startsWith("late/")) await opened;
        return files.read(path);
      },
    };
    let failed: () => void = () => undefined;
    const first = new Promise<void>((resolve) => (failed = resolve));
    const good = tritonModels()["identity_fp32/1/model.onnx"] ?? "";
    await writeModels(folder, { "mended/1/model.onnx": "no model", "late/1/model.onnx": "no model" });
    const options: Partial<ServeOptions> = {
      port,
      store,
      loadModels: ["mended", "late"],
      exitOnError: false,
      report: () => failed(),
    };
    const ask = asker(`http://127.0.0.1:${port}`);
    const whole = running(options, async () => {
      // The last one failed after the first was loaded after all.
      expect((await ask("/v2/health/ready")).status).toBe(503);
      expect((await ask("/v2/repository/models/late/unload", {})).status).toBe(200);
      expect((await ask("/v2/health/ready")).status).toBe(200);
    });
    await Promise.race([first, whole]);
    await writeModels(folder, { "mended/1/model.onnx": good });
    expect((await ask("/v2/repository/models/mended/load", {})).status).toBe(200);
    expect((await ask("/v2/health/ready")).status).toBe(503);
    open();
    await whole;
    for (const name of ["mended", "late"]) rmSync(join(folder, name), { recursive: true });
  });

  it("is not ready for one that was loaded after all while the rest is still tried", async () => {
    const missing = missingModels(noIndex);
    let complete = false;
    void missing.complete.then(() => (complete = true));
    missing.failed("a");
    void missing.settled("a");
    await settle();
    expect(complete).toBe(false);
    missing.failed("b");
    missing.allTried();
    await settle();
    expect(complete).toBe(false);
    void missing.settled("b");
    await missing.complete;
  });

  it("is ready once a failed model came or went with another one", async () => {
    const pipeline = `inputs: [{ name: x, datatype: FP32, shape: [-1, -1] }]
pipeline: { steps: [{ id: s, model: inner, inputs: { INPUT0: x } }], outputs: { y: s.OUTPUT0 } }`;
    const options: Partial<ServeOptions> = {
      modelControl: "explicit",
      loadModels: ["inner"],
      exitOnError: false,
      report: () => undefined,
    };
    await writeModels(folder, { "inner/1/model.onnx": "no model", "outer/model.yaml": pipeline });
    await running(options, async (ask) => {
      expect((await ask("/v2/repository/models/simple/load", {})).status).toBe(200);
      expect((await ask("/v2/repository/models/outer/load", {})).status).not.toBe(200);
      expect((await ask("/v2/health/ready")).status).toBe(503);
      await writeModels(folder, {
        "inner/1/model.onnx": tritonModels()["identity_fp32/1/model.onnx"] ?? "",
      });
      expect((await ask("/v2/repository/models/outer/load", {})).body).toEqual({});
      expect((await ask("/v2/health/ready")).status).toBe(200);
    });
    for (const name of ["inner", "outer"]) rmSync(join(folder, name), { recursive: true });
  });

  it("stays not ready for one whose configuration cannot be read, with any others loaded", async () => {
    const options: Partial<ServeOptions> = {
      modelControl: "explicit",
      loadModels: ["misspelt"],
      exitOnError: false,
      report: () => undefined,
    };
    await writeModels(folder, { "misspelt/model.yaml": "wrong: 1\n" });
    await running(options, async (ask) => {
      expect((await ask("/v2/repository/models/simple/load", {})).status).toBe(200);
      expect((await ask("/v2/health/ready")).status).toBe(503);
    });
    rmSync(join(folder, "misspelt"), { recursive: true });
  });

  it("waits for none that the index reports as unloaded or present, and says why it could not look", async () => {
    const reported: string[] = [];
    let entries: readonly IndexEntry[] | undefined;
    const missing = missingModels({
      index: () => (entries ? Promise.resolve(entries) : Promise.reject(new Error("no folder"))),
      report: (text) => void reported.push(text),
    });
    let complete = false;
    void missing.complete.then(() => (complete = true));
    for (const model of ["a", "b", "c"]) missing.failed(model);
    missing.allTried();
    await missing.look();
    expect(reported).toEqual([expect.stringContaining("no folder")]);
    entries = [
      { name: "a", version: "1", state: "unloaded" },
      { name: "b", version: "1", state: "available" },
      { name: "b", version: "2", state: "unavailable" },
    ];
    await missing.look();
    entries = [{ name: "b", version: "2", state: "ready" }];
    await missing.look();
    expect(complete).toBe(false);
    entries = [{ name: "c", version: "1", state: "available" }];
    await missing.look();
    await missing.complete;
  });

  it("waits for one that was absent until it is loaded, and for none that is not loaded yet", async () => {
    let state: IndexEntry["state"] = "unloaded";
    const missing = missingModels({
      index: () => Promise.resolve([{ name: "a", version: "1", state }]),
      report: () => undefined,
    });
    let complete = false;
    void missing.complete.then(() => (complete = true));
    missing.failed("a", true);
    missing.allTried();
    for (state of ["unloaded", "available", "loading"] as const) await missing.look();
    await settle();
    expect(complete).toBe(false);
    state = "ready";
    await missing.look();
    await missing.complete;
  });

  it("neither loads nor misses a model that was removed before its turn came, or while it was loaded", async () => {
    const loaded: string[] = [];
    const missing = missingModels(noIndex);
    const engine = {
      async load(model: string) {
        loaded.push(model);
        if (model === "first") await missing.settled("second");
        if (model !== "third") return;
        await missing.settled("third");
        throw new Error("it is gone");
      },
      unload: () => Promise.resolve(),
      index: noIndex.index,
      uses: () => Promise.resolve([]),
    };
    const parts = {
      engine,
      store: folderStore(folder),
      clock: manualClock(),
      missing,
      report: noIndex.report,
    };
    const loadModels = ["first", "second", "third"];
    using _control = await controlModels({ loadModels, exitOnError: false }, parts);
    expect(loaded).toEqual(["first", "third"]);
    await missing.complete;
  });

  it("does not start with the address of a directory that is none", async () => {
    const options: Partial<ServeOptions> = {
      loadModels: ["broken"],
      exitOnError: false,
      join: { address: "localhost:8000" },
      report: () => undefined,
    };
    await expect(running(options, () => Promise.resolve())).rejects.toMatchObject({
      reason: "invalid-configuration",
    });
  });

  it("looks at the repository no more once it could not be read at the start", async () => {
    const clock = manualClock();
    let looks = 0;
    const files = folderStore(folder);
    const store: ModelStore = {
      list: (path) => ((looks += path === "" ? 1 : 0), files.list(path)),
      read: (path) => files.read(path),
    };
    const nothing = (): Promise<void> => Promise.resolve();
    const uses = (): Promise<readonly string[]> => Promise.resolve([]);
    const index = (): Promise<never> => Promise.reject(new Error("no folder"));
    const engine = { load: nothing, unload: nothing, index, uses };
    const parts = { engine, store, clock, missing: missingModels(noIndex), report: () => undefined };
    await expect(controlModels({ modelControl: "poll", pollMs: 10 }, parts)).rejects.toThrow("no folder");
    expect(looks).toBe(1);
    await clock.advance(100);
    expect(looks).toBe(1);
  });

  it("loads the named model, and says why it cannot", async () => {
    const file = join(folder, "broken", "1", "model.onnx");
    const { code, notes } = await command("serve", file, "--port", "0");
    expect(code).not.toBe(0);
    expect(notes).toMatch(/failed to load 'model'.*ONNX/s);
  });
});

it("a folder of one model is served without the models beside it", async () => {
  const stop = new AbortController();
  const said: string[] = [];
  const ended = runCommand(["serve", join(folder, "identity_fp32"), "--port", "0", "--no-grpc-port"], {
    out: (line) => void said.push(line),
    note: () => undefined,
    progress: () => undefined,
    environment: {},
    stop: stop.signal,
  });
  await vi.waitFor(() => expect(said.join("\n")).toMatch(/^models: identity_fp32 1$/m), 60_000);
  const address = /http:\S+/.exec(said.join("\n"))?.[0] ?? "";
  const status = async (model: string): Promise<number> =>
    (await fetch(`${address}/v2/models/${model}`)).status;
  expect([await status("identity_fp32"), await status("accumulate_int32")]).toEqual([200, 404]);
  stop.abort();
  expect(await ended).toBe(0);
});

describe("sequences over HTTP", () => {
  it("need no step numbers, and their state is accepted only sealed from callers that may not run parts of models", async () => {
    await running({}, async (ask) => {
      const model = "/v2/models/accumulate_int32/infer";
      expect(
        (await ask(model, step(1, { sequence_id: 5, sequence_start: true }))).body.outputs[0]?.data,
      ).toEqual([1]);
      const failed = await ask(model, {
        inputs: [tensor("INPUT", "INT32", [2, 1], [1, 2])],
        parameters: { sequence_id: 5 },
      });
      expect(failed).toMatchObject({ status: 400, body: { reason: "invalid-input" } });
      const second = await ask(model, step(2, { sequence_id: 5, longshore_want_state: true }));
      expect(second.body.outputs[0]?.data).toEqual([3]);
      expect(await ask(model, step(1, { sequence_id: "nobody" }))).toMatchObject({
        status: 400,
        body: { reason: "sequence-unknown" },
      });

      // A request through a proxy counts as a stranger's, with the right to infer only.
      const stranger = { "x-forwarded-for": "192.0.2.1" };
      const first = step(1, { sequence_id: 5, sequence_start: true, longshore_want_state: true });
      const own = await ask(model, first, stranger);
      const seal = own.body.parameters["longshore_state_seal"];
      const back = (from: string | undefined): object =>
        step(
          10,
          { sequence_id: 5, ...(from === undefined ? {} : { longshore_state_seal: from }) },
          tensor("longshore-state:STATE", "INT32", [1, 1], [1]),
        );
      expect(own.body.outputs.map(({ name }) => name)).toEqual(["OUTPUT", "longshore-state:STATE"]);
      expect((await ask(model, back(seal), stranger)).body.outputs[0]?.data).toEqual([11]);
      expect(await ask(model, back(undefined), stranger)).toMatchObject({
        status: 403,
        body: { reason: "not-permitted" },
      });
      // The other tenant's export is of no use, also where its value is the same.
      const theirs = second.body.parameters["longshore_state_seal"];
      expect(await ask(model, back(theirs), stranger)).toMatchObject({ status: 403 });
      expect((await ask(model, back(seal))).status).toBe(403);
      expect((await ask(model, back(undefined))).body.outputs[0]?.data).toEqual([11]);
    });
  });
});

describe("a server that polls", () => {
  it("has loaded all when it is ready, and loads new ones by itself", async () => {
    const options: Partial<ServeOptions> = {
      modelControl: "poll",
      pollMs: 20,
      exitOnError: false,
      report: () => undefined,
    };
    await running(options, async (ask, { engine }) => {
      expect((await ask("/v2/models/simple_string/ready")).status).toBe(200);
      expect((await engine.index()).find(({ name }) => name === "broken")?.state).toBe("unavailable");
      await writeModels(folder, { "later/1/model.onnx": tritonModels()["identity_fp32/1/model.onnx"] ?? "" });
      writeFileSync(join(folder, "later", "model.yaml"), "{}");
      let status = 404;
      while (status !== 200) status = (await ask("/v2/models/later/ready")).status;
      expect(status).toBe(200);
      rmSync(join(folder, "later"), { recursive: true });
      while (status !== 404) status = (await ask("/v2/models/later/ready")).status;
      expect(status).toBe(404);
    });
  });
});
