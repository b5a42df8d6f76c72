import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  type Answer,
  type EndpointCapabilities,
  type InferenceRequest,
  type Inputs,
  type LongshoreError,
  numericTensor,
  numericView,
  type Observer,
  seededRandom,
  silentObserver,
  startCut,
  endCut,
} from "@longshore/core";
import { housekeepingCall, neverAborted } from "@longshore/core/internal";
import { systemClock } from "@longshore/nodejs";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { dial, serverInfo } from "../connect/dial.ts";
import type { ServerOptions } from "../connect/server-options.ts";
import { gateway } from "./forwarding.ts";
import { openModel } from "../engine/open-model.ts";
import { openOffloader } from "./open-offloader.ts";
import type { OpenOptions } from "./open-options.ts";
import { type RunningServer, serve } from "./serve.ts";

const numbers = `
inputs: [{ name: IN, datatype: INT32, shape: [-1, -1] }, { name: DELAY, datatype: UINT32, shape: [-1] }]
pipeline:
  steps: [{ id: repeat, transform: repeat, inputs: { values: IN, delays: DELAY } }]
  outputs: { OUT: repeat.value, IDX: repeat.index }
`;
const words = `
inputs: [{ name: TEXT, datatype: BYTES, shape: [-1] }, { name: DELAY, datatype: UINT32, shape: [-1] }]
pipeline:
  steps: [{ id: repeat, transform: repeat, inputs: { values: TEXT, delays: DELAY } }]
  outputs: { OUT: repeat.value }
`;

let folder: string;
const open: { close(graceMs?: number): Promise<void> }[] = [];

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-answers-"));
  for (const [name, text] of Object.entries({ numbers, words })) {
    await mkdir(join(folder, name, "1"), { recursive: true });
    await writeFile(join(folder, name, "model.yaml"), text);
  }
});
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close(0);
});
afterAll(() => rm(folder, { recursive: true, force: true }));

async function server(id: string, record: Observer["record"] = () => undefined): Promise<RunningServer> {
  const { store } = await openModel(folder);
  const running = await serve({ store, port: 0, grpcPort: 0, id, observer: { record } });
  open.push(running);
  return running;
}

/** How a gateway speaks to its servers: as to our own, or as to servers of other makes with gRPC beside HTTP. */
type Kind = "longshore" | "oip";

async function before(behind: readonly RunningServer[], kind: Kind, id = "gateway"): Promise<string> {
  return beforeEndpoints(
    behind.map(({ address, grpcAddress }) =>
      kind === "oip" ? { address, kind, grpc: `http://${grpcAddress}` } : { address },
    ),
    id,
  );
}

async function beforeEndpoints(servers: readonly ServerOptions[], id: string): Promise<string> {
  const running = await gateway({ port: 0, id, dataClass: "internal", servers });
  open.push(running);
  return running.address;
}

/** A client of a server, over real sockets. */
function client(address: string): Required<Pick<EndpointCapabilities, "inferStream">> {
  const parts = { clock: systemClock(), random: seededRandom(1), observer: silentObserver };
  const endpoint = dial(serverInfo({ address, kind: "longshore" }), parts);
  open.push(endpoint);
  const { inferStream } = endpoint.capabilities ?? {};
  if (!inferStream) throw new Error("it gives no streams");
  return { inferStream };
}

/** A request for rows of this many numbers, the first of which is their position. */
function asking(rows: number, columns: number, delayMs: readonly number[]): InferenceRequest {
  const values = Int32Array.from({ length: rows * columns }, (_, at) => Math.floor(at / columns));
  const segment = {
    model: "numbers",
    version: "1",
    digest: "",
    variant: "default",
    from: startCut,
    to: endCut,
  };
  const given = [
    numericTensor("IN", "INT32", [rows, columns], values),
    numericTensor(
      "DELAY",
      "UINT32",
      [rows],
      Uint32Array.from({ length: rows }, (_, at) => delayMs[at] ?? 0),
    ),
  ];
  return { segment, codecs: {}, inputs: new Map(given.map((tensor) => [tensor.spec.name, tensor])) };
}

const call = (abort = neverAborted) => ({
  ...housekeepingCall("test", abort),
  rules: { dataClass: "internal", leastTrust: "none" } as const,
});

/** Waits for what is measured to say so; fails with the test's own time. */
async function until(holds: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await holds())) await new Promise((resolve) => setTimeout(resolve, 10));
}

async function inFlight(address: string): Promise<number> {
  const reply = await fetch(`${address}/v2/health/live`);
  return Number(/in-flight=(\d+)/.exec(reply.headers.get("longshore-load") ?? "")?.[1] ?? -1);
}

it("a server that reports its load after its answers over gRPC, as ours does, is known to be", async () => {
  const { address, grpcAddress } = await server("one");
  const parts = { clock: systemClock(), random: seededRandom(1), observer: silentObserver };
  const options = { metrics: "none" } as const;
  const info = serverInfo({ address, kind: "oip", grpc: `http://${grpcAddress}` });
  const endpoint = dial(info, parts, options);
  open.push(endpoint);
  expect(endpoint.capabilities.loadEveryMs?.()).toBeUndefined();
  expect(await endpoint.capabilities.probe?.(0, call())).toBeUndefined();
  const answers = endpoint.capabilities.inferStream?.(asking(2, 1, []), call()) ?? [];
  for await (const one of answers) expect(one.load).toBeUndefined();
  expect(endpoint.capabilities.loadEveryMs?.()).toBe(0);
  const load = await endpoint.capabilities.probe?.(0, call());
  expect(load).toMatchObject({ cpuRatio: expect.any(Number), queueMs: expect.any(Number) });
  expect(load?.inFlight).toBe(0);
  expect(await endpoint.capabilities.probe?.(0, call())).toBeUndefined();
});

describe.each(["longshore", "oip"] as const)("through a gateway, sent as %s", (kind) => {
  it("passes each answer on as it is made, through two gateways, and says where they were made", async () => {
    const behind = await before([await server("one")], kind, "behind");
    const { inferStream } = client(await beforeEndpoints([{ address: behind }], "gateway"));
    const seen: unknown[] = [];
    for await (const { outputs, account } of inferStream(asking(3, 2, []), call())) {
      seen.push([numericView(outputs.get("OUT")!)[0], numericView(outputs.get("IDX")!)[0]]);
      expect(account.segment.model).toBe("numbers");
      expect(account.forwarded[0]?.forwarded).toHaveLength(1);
    }
    expect(seen).toEqual([
      [0, 0],
      [1, 1],
      [2, 2],
    ]);
  });

  it("streams text of another server, and refuses one answer alone", async () => {
    const address = await before([await server("one")], kind);
    const body = JSON.stringify({ TEXT: ["a", "b", "c"], DELAY: [0, 0, 0] });
    const stream = await fetch(`${address}/v2/models/words/generate_stream`, { method: "POST", body });
    const events = (await stream.text()).split("\n\n").filter(Boolean);
    expect(events.map((one) => (JSON.parse(one.slice(6)) as { OUT: string }).OUT)).toEqual(["a", "b", "c"]);
    const alone = await fetch(`${address}/v2/models/words/generate`, { method: "POST", body });
    expect(await alone.json()).toMatchObject({ reason: "unsupported" });
    const wrong = await fetch(`${address}/v2/models/words/infer`, {
      method: "POST",
      headers: { "longshore-answers": "many" },
      body: "{}",
    });
    expect(await wrong.json()).toMatchObject({ reason: "invalid-input" });
  });

  it("holds the server back while its reader is slow, and ends the work when the reader leaves", async () => {
    let made = 0;
    const one = await server("one", (event) => {
      if (event.kind === "stage-ended" && event.stage === "encode") made += 1;
    });
    const { inferStream } = client(await before([one], kind));
    const answers = inferStream(asking(58, 1 << 18, []), call())[Symbol.asyncIterator]();
    expect((await answers.next()).value?.outputs.get("OUT")?.bytes.byteLength).toBe(1 << 20);
    // The second is not read: the buffers on the way fill, and then no more answers are made.
    let [lookedAt, quietReplies] = [-1, 0];
    // The server answers others meanwhile: it has had its turns to make one more.
    while (quietReplies < 100) {
      await inFlight(one.address);
      quietReplies = made === lookedAt ? quietReplies + 1 : 0;
      lookedAt = made;
    }
    expect(made).toBeLessThan(58);
    await answers.return?.();
    await until(async () => (await inFlight(one.address)) === 0);
  });

  it("ends the work of a call that ends between two answers", async () => {
    const one = await server("one");
    const { inferStream } = client(await before([one], kind));
    const ends = new AbortController();
    const seen: unknown[] = [];
    const reading = (async () => {
      for await (const { outputs } of inferStream(asking(3, 1, [0, 0, 50_000]), call(ends.signal))) {
        seen.push(numericView(outputs.get("OUT")!)[0]);
        if (seen.length === 2) ends.abort(new Error("enough"));
      }
    })();
    await expect(reading).rejects.toMatchObject({ reason: "cancelled" });
    expect(seen).toEqual([0, 1]);
    await until(async () => (await inFlight(one.address)) === 0);
  });

  it("takes another server until the first answer is there, and none afterwards", async () => {
    const [first, second] = [await server("one"), await server("two")];
    const { inferStream } = client(await before([first, second], kind));
    const taken = async (request: InferenceRequest, between?: () => Promise<void>): Promise<unknown[]> => {
      const seen: unknown[] = [];
      try {
        for await (const { outputs, account } of inferStream(request, call())) {
          seen.push(numericView(outputs.get("OUT")!)[0]);
          if (seen.length === 1) await between?.();
          expect(account.forwarded).toHaveLength(1);
        }
      } catch (thrown) {
        seen.push((thrown as LongshoreError).reason);
      }
      return seen;
    };
    expect(await taken(asking(2, 1, []))).toEqual([0, 1]);
    await first.close(0);
    expect(await taken(asking(2, 1, []))).toEqual([0, 1]);
    // A second server could not know which answers were given.
    expect(await taken(asking(2, 1, [0, 50_000]), () => second.close(0))).toEqual([0, "no-answer"]);
  });

  it("passes on why an answer failed after others were given", async () => {
    const { inferStream } = client(await before([await server("one")], kind));
    const reading = (async () => {
      for await (const one of inferStream(asking(2, 1, [0, 70_000]), call()))
        expect(one.outputs.size).toBe(2);
    })();
    // Without our extension an error among answers is words only.
    const reason = kind === "longshore" ? "invalid-input" : "run-failed";
    await expect(reading).rejects.toMatchObject({ reason });
  });
});

describe("for an app", () => {
  type Event = Parameters<Observer["record"]>[0];

  async function app(options: OpenOptions) {
    const offloader = await openOffloader({ defaults: { dataClass: "internal" }, ...options });
    open.push(offloader);
    const ask = (
      rows: number,
      delays: readonly number[],
      limits: Parameters<typeof offloader.answers>[2] = {},
    ) => offloader.answers("numbers", Object.fromEntries(asking(rows, 1, delays).inputs) as Inputs, limits);
    return { offloader, ask };
  }

  async function taken(answers: AsyncIterable<Answer>, most = Infinity): Promise<unknown[]> {
    const seen: unknown[] = [];
    try {
      for await (const { outputs, where } of answers) {
        seen.push([numericView(outputs.get("OUT")!)[0], where]);
        if (seen.length >= most) break;
      }
    } catch (thrown) {
      seen.push((thrown as LongshoreError).reason);
    }
    return seen;
  }

  it("come from a server, and from another one when that is gone", async () => {
    const [first, second] = [await server("one"), await server("two")];
    const { ask } = await app({ servers: [{ address: first.address, id: "one" }] });
    expect(await taken(ask(2, []))).toEqual([
      [0, "one"],
      [1, "one"],
    ]);
    const both = await app({
      servers: [first.address, { address: second.address, id: "two" }],
    });
    await first.close(0);
    expect(await taken(both.ask(1, []))).toEqual([[0, "two"]]);
  });

  it("come from this device, keep their deadline, and are recorded once", async () => {
    const told: Event[] = [];
    const { offloader, ask } = await app({
      repository: folder,
      observer: { record: (event) => told.push(event) },
    });
    const ended = (): unknown[] =>
      told.splice(0).flatMap((event) => (event.kind === "request-ended" ? [event.outcome] : []));
    expect(await taken(ask(2, []))).toEqual([
      [0, "device"],
      [1, "device"],
    ]);
    expect(ended()).toEqual(["answered"]);
    // A deadline that passed before the first answer was made says nothing of those after it: then with more time.
    let late: unknown[] = [];
    for (let deadlineMs = 300; late.length < 2 && deadlineMs < 50_000; deadlineMs *= 5) {
      late = await taken(ask(2, [0, 50_000], { deadlineMs }));
      expect(ended()).toEqual(["deadline-exceeded"]);
    }
    expect(late).toEqual([[0, "device"], "deadline-exceeded"]);
    expect(await taken(ask(2, [0, 50_000]), 1)).toEqual([[0, "device"]]);
    expect(ended()).toEqual(["cancelled"]);
    expect(await taken(offloader.answers("none", {}))).toEqual(["unknown-model"]);
    const inputs = Object.fromEntries(asking(1, 1, []).inputs) as Inputs;
    await expect(offloader.infer("numbers", inputs)).rejects.toMatchObject({ reason: "unsupported" });
    await expect(taken(offloader.answers("numbers", inputs, { confirm: true }))).resolves.toEqual([
      "unsupported",
    ]);
  });

  it("end between two answers when the offloader is closed, with or without a reader", async () => {
    const one = await server("one");
    const here = await app({ repository: folder });
    const there = await app({ servers: [one.address] });
    for (const { offloader, ask } of [here, there]) {
      const reader = ask(1000, [])[Symbol.asyncIterator]();
      expect((await reader.next()).done).toBe(false);
      await offloader.close();
      await expect(reader.next()).rejects.toMatchObject({ reason: "shutting-down" });
    }
  });

  it("begin again if another content has replaced the model", async () => {
    const edge = await server("edge");
    const { ask } = await app({ servers: [{ address: edge.address, id: "edge" }] });
    expect(await taken(ask(2, [0, 0]))).toHaveLength(2);
    const file = join(folder, "numbers", "model.yaml");
    const swapped = numbers.replace("{ OUT: repeat.value, IDX: repeat.index }", "{ OUT: repeat.value }");
    try {
      await writeFile(file, swapped);
      await edge.engine.load("numbers", undefined, housekeepingCall("test"));
      expect(await taken(ask(2, [0, 0]))).toEqual([
        [0, "edge"],
        [1, "edge"],
      ]);
    } finally {
      await writeFile(file, numbers);
    }
  });
});
