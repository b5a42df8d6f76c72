import { copyFileSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import { type RunningPeer, startOwn } from "@longshore/conformance";
import { type Random, seededRandom } from "@longshore/core";
import { sampleRepository } from "@longshore/samples";
import type { Row } from "./harness.ts";
import { Connection } from "./load/connection.ts";
import type { PreparedRequest } from "./mean-request.ts";

/** An input of a model, with one row. */
interface Input {
  readonly name: string;
  readonly datatype: "FP32" | "INT64";
  readonly shape: readonly number[];
}

/** A sample whose file is served without its configuration, and its share of the answers. */
interface Subject {
  readonly model: string;
  readonly inputs: readonly Input[];
  readonly shareRatio: number;
}

/** Samples with a free first axis and no state: a small convolutional network, 8-bit weights, and two towers over embedding tables. */
const subjects: readonly Subject[] = [
  {
    model: "anomaly",
    inputs: [{ name: "readings", datatype: "FP32", shape: [1, 32, 4096] }],
    shareRatio: 0.05,
  },
  {
    model: "language-scores",
    inputs: [{ name: "ngrams", datatype: "FP32", shape: [1, 4096] }],
    shareRatio: 0.45,
  },
  {
    model: "recommendation",
    inputs: [
      { name: "user", datatype: "INT64", shape: [1] },
      { name: "history", datatype: "INT64", shape: [1, 20] },
      { name: "context", datatype: "FP32", shape: [1, 13] },
      { name: "candidates", datatype: "INT64", shape: [1, 50] },
    ],
    shareRatio: 0.5,
  },
];

/** Different requests for a model. */
const requestCount = 64;
const connections = 32;
/** Magnitudes of rows: neighbours far from a row's own range shift a scale that the whole batch shares. */
const magnitudes = [1, 100, 0.01, 30, 1000];
/** Indices for INT64 inputs, which all embedding tables have. */
const indices = 50_000;

function values({ datatype, shape }: Input, magnitude: number, random: Random): Buffer {
  const length = shape.reduce((product, size) => product * size, 1);
  const array =
    datatype === "FP32"
      ? Float32Array.from({ length }, () => (random.next() * 2 - 1) * magnitude)
      : BigInt64Array.from({ length }, () => BigInt(Math.floor(random.next() * indices)));
  return Buffer.from(array.buffer);
}

function requestFor({ model, inputs }: Subject, magnitude: number, random: Random): PreparedRequest {
  const bytes = inputs.map((input) => values(input, magnitude, random));
  const described = inputs.map((input, at) => ({
    ...input,
    parameters: { binary_data_size: bytes[at]?.byteLength ?? 0 },
  }));
  const json = Buffer.from(JSON.stringify({ inputs: described, parameters: { binary_data_output: true } }));
  const body = Buffer.concat([json, ...bytes]);
  const head = [
    `POST /v2/models/${model}/infer HTTP/1.1`,
    "host: 127.0.0.1",
    "content-type: application/octet-stream",
    `content-length: ${body.byteLength}`,
    `inference-header-content-length: ${json.byteLength}`,
  ];
  return { head: `${head.join("\r\n")}\r\n\r\n`, body };
}

/** Sends a request, and returns the tensors of the answer. */
async function answer(connection: Connection, { head, body }: PreparedRequest): Promise<Buffer> {
  const reply = await connection.send(head, body);
  if (reply.status !== 200) throw new Error(`a request was answered with status ${reply.status}`);
  const jsonBytes = Number(/\r\ninference-header-content-length: (\d+)/i.exec(reply.head)?.[1]);
  if (!(jsonBytes > 0)) throw new Error("an answer has no binary tensors");
  return Buffer.from(reply.body.subarray(jsonBytes));
}

/** Requests and runs of a model so far. */
async function countsOf({ http }: RunningPeer, model: string): Promise<{ requests: number; runs: number }> {
  const text = await (await fetch(`http://${http}/metrics`)).text();
  const figure = (name: string): number =>
    Number(new RegExp(`^${name}\\{[^}]*model="${model}"[^}]*\\} ([0-9.e+]+)`, "m").exec(text)?.[1] ?? 0);
  return { requests: figure("nv_inference_count"), runs: figure("nv_inference_exec_count") };
}

/** Answers that were compared. */
export interface BatchedAnswers {
  readonly compared: number;
  /** Answers that differ from the one of the same request alone: a bare model states no tolerance, so in any bit. */
  readonly beyond: number;
  readonly rows: readonly Row[];
}

/** Sends a server with default options each request alone, then in random order over many connections, and compares the answers. */
export async function batchedAnswers(
  folder: string,
  total: number,
  seed: number,
  say: (line: string) => void,
): Promise<BatchedAnswers> {
  const repository = join(folder, "batched");
  for (const { model } of subjects) {
    const version = join(repository, model, "1");
    mkdirSync(version, { recursive: true });
    copyFileSync(join(sampleRepository(), model, "1", "model.onnx"), join(version, "model.onnx"));
  }
  const random = seededRandom(seed);
  const peer = await startOwn({ repository, args: ["--log-level", "none"] });
  const rows: Row[] = [];
  try {
    const open = Array.from({ length: connections }, () => new Connection(Number(peer.http.split(":")[1])));
    for (const subject of subjects) {
      const { model, shareRatio } = subject;
      const sent = Array.from({ length: requestCount }, (_, at) =>
        requestFor(subject, magnitudes[at % magnitudes.length] ?? 1, random),
      );
      const [first] = open;
      if (!first) throw new Error("there is no connection");
      const alone: Buffer[] = [];
      for (const one of sent) alone.push(await answer(first, one));
      const before = await countsOf(peer, model);
      let left = Math.round(total * shareRatio);
      let compared = 0;
      let beyond = 0;
      await Promise.all(
        open.map(async (connection) => {
          while (left-- > 0) {
            const at = Math.floor(random.next() * requestCount);
            const one = sent[at];
            if (!one) throw new Error("there is no such request");
            const given = await answer(connection, one);
            compared++;
            if (!alone[at]?.equals(given)) beyond++;
          }
        }),
      );
      const after = await countsOf(peer, model);
      const batch = (after.requests - before.requests) / (after.runs - before.runs);
      rows.push({ part: "batched", model, compared, beyond, meanBatch: batch });
      say(
        `batched   ${model.padEnd(16)} ${compared} answers, ${batch.toFixed(2)} in a run, ${beyond} differ`,
      );
    }
    for (const one of open) one.close();
  } finally {
    await peer.close();
  }
  const sum = (of: "compared" | "beyond"): number => rows.reduce((all, row) => all + Number(row[of]), 0);
  return { compared: sum("compared"), beyond: sum("beyond"), rows };
}
