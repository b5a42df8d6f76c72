import { once } from "node:events";
import { request as ask } from "node:http";
import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { acknowledgeHeader, housekeepingCall } from "@longshore/core/internal";
import { graphBuilder, writeModel } from "@longshore/graph";
import { writeModels } from "@longshore/testkit";
import { gateway } from "./forwarding.ts";
import { openModel } from "../engine/open-model.ts";
import { type RunningServer, serve } from "./serve.ts";

const width = 65_536;
const numbers = `
inputs: [{ name: IN, datatype: INT32, shape: [-1, -1] }, { name: DELAY, datatype: UINT32, shape: [-1] }]
pipeline:
  steps: [{ id: repeat, transform: repeat, inputs: { values: IN, delays: DELAY } }]
  outputs: { OUT: repeat.value, IDX: repeat.index }
`;
let folder: string;
let server: RunningServer;
const open: { close(graceMs?: number): Promise<void> }[] = [];

/** Writes `wide`, whose answer is its input plus a number. */
async function write(plus: number): Promise<void> {
  const build = graphBuilder();
  const x = build.input("x", "FP32", [-1, width]);
  const number = build.weights("number", "FP32", [1], Float32Array.of(plus));
  build.output(build.node("Add", [x, number], { outputs: ["y"] }), "FP32", [-1, width]);
  await mkdir(join(folder, "wide", "1"), { recursive: true });
  await writeFile(join(folder, "wide", "1", "model.onnx"), writeModel(build.model({ name: "wide" })));
}

async function replace(plus: number): Promise<void> {
  await write(plus);
  await server.engine.load("wide", undefined, housekeepingCall("test"));
}

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-replaced-"));
  await write(1);
  await writeModels(folder);
  await mkdir(join(folder, "numbers", "1"), { recursive: true });
  await writeFile(join(folder, "numbers", "model.yaml"), numbers);
  server = await serve({ store: (await openModel(folder)).store, port: 0 });
  open.push(server);
});
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close(0);
  await rm(folder, { recursive: true, force: true });
});

/** Asks for one row of zeros; `pause` is waited for when half of it was sent. */
async function answerOf(
  address: string,
  pause?: () => Promise<void>,
  version = "",
): Promise<readonly [number, number | string]> {
  const head = JSON.stringify({
    inputs: [{ name: "x", datatype: "FP32", shape: [1, width], parameters: { binary_data_size: 4 * width } }],
    outputs: [{ name: "y", parameters: { binary_data: true } }],
  });
  const body = Buffer.concat([Buffer.from(head), Buffer.alloc(4 * width)]);
  const sent = ask(new URL(`/v2/models/wide${version}/infer`, address), {
    method: "POST",
    headers: {
      "inference-header-content-length": String(Buffer.byteLength(head)),
      "content-length": String(body.byteLength),
      [acknowledgeHeader]: "1024",
    },
  });
  const arrives = once(sent, "information");
  const answered = new Promise<readonly [number, number | string]>((resolve, reject) => {
    sent.on("error", reject).on("response", (reply) => {
      const parts: Buffer[] = [];
      reply
        .on("data", (part: Buffer) => parts.push(part))
        .on("end", () => {
          const all = Buffer.concat(parts);
          const length = Number(reply.headers["inference-header-content-length"] ?? 0);
          resolve([
            reply.statusCode ?? 0,
            reply.statusCode === 200 ? all.readFloatLE(length) : all.toString(),
          ]);
        });
    });
  });
  sent.write(body.subarray(0, body.byteLength / 2));
  if (pause) {
    await arrives;
    await pause();
  }
  sent.end(body.subarray(body.byteLength / 2));
  return answered;
}

describe("content that is replaced", () => {
  it("while a body arrives at its server answers that", async () => {
    expect(await answerOf(server.address)).toEqual([200, 1]);
    expect(await answerOf(server.address, () => replace(2))).toEqual([200, 2]);
  });

  it("through a gateway answers forwarded bodies from before and after", async () => {
    const gate = await gateway({ port: 0, dataClass: "internal", servers: [{ address: server.address }] });
    open.push(gate);
    expect(await answerOf(gate.address)).toEqual([200, 1]);
    await replace(2);
    expect(await answerOf(gate.address)).toEqual([200, 2]);
    expect(await answerOf(gate.address, () => replace(3))).toEqual([200, 3]);
    await replace(4);
    expect(await answerOf(gate.address, undefined, "/versions/1")).toEqual([200, 4]);
  });

  it("through a gateway lets sequences begin, and knows none that began before", async () => {
    const gate = await gateway({ port: 0, dataClass: "internal", servers: [{ address: server.address }] });
    open.push(gate);
    const step = async (id: number, start: boolean): Promise<readonly unknown[]> => {
      const reply = await fetch(`${gate.address}/v2/models/accumulate_int32/infer`, {
        method: "POST",
        body: JSON.stringify({
          parameters: { sequence_id: id, sequence_start: start, sequence_end: false },
          inputs: [{ name: "INPUT", datatype: "INT32", shape: [1, 1], data: [3] }],
        }),
      });
      const answer = (await reply.json()) as { reason?: string; outputs?: { data: number[] }[] };
      return [reply.status, answer.outputs?.[0]?.data[0] ?? answer.reason];
    };
    expect(await step(1, true)).toEqual([200, 3]);
    expect(await step(1, false)).toEqual([200, 6]);
    const other = async (): Promise<void> => {
      await writeFile(join(folder, "accumulate_int32", "1", `note-${Math.random()}`), "");
      await server.engine.load("accumulate_int32", undefined, housekeepingCall("test"));
    };
    await other();
    expect(await step(2, true)).toEqual([200, 3]);
    expect(await step(2, false)).toEqual([200, 6]);
    await other();
    expect(await step(2, false)).toEqual([400, "sequence-unknown"]);
  });

  it("through a gateway gives several answers of the present content", async () => {
    const gate = await gateway({ port: 0, dataClass: "internal", servers: [{ address: server.address }] });
    open.push(gate);
    const firstOf = async (): Promise<unknown> => {
      const reply = await fetch(`${gate.address}/v2/models/numbers/infer`, {
        method: "POST",
        headers: { "longshore-answers": "several" },
        body: JSON.stringify({
          inputs: [
            { name: "IN", datatype: "INT32", shape: [2, 1], data: [7, 8] },
            { name: "DELAY", datatype: "UINT32", shape: [2], data: [0, 0] },
          ],
        }),
      });
      return [reply.status, (await reply.text()).includes('"IDX"')];
    };
    expect(await firstOf()).toEqual([200, true]);
    await writeFile(join(folder, "numbers", "model.yaml"), numbers.replace(", IDX: repeat.index", ""));
    await server.engine.load("numbers", undefined, housekeepingCall("test"));
    expect(await firstOf()).toEqual([200, false]);
  });
});
