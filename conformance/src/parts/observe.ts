import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { denseModel } from "../dense-models.ts";
import {
  command,
  freePort,
  type RunningPeer,
  type ServedModel,
  type ServerSetup,
  startKserve,
  startMlserver,
  startServerProcess,
  startTriton,
} from "../servers/index.ts";
import { eachSelected, type Part, type PartContext } from "./part.ts";

/** A kind of server, and whether it takes tensors as bytes. */
interface Kind {
  readonly name: string;
  readonly binary: boolean;
  start(setup: ServerSetup): Promise<RunningPeer>;
}

const kinds: readonly Kind[] = [
  { name: "triton", binary: true, start: (setup) => startTriton(setup) },
  { name: "kserve", binary: true, start: startKserve },
  { name: "mlserver", binary: false, start: startMlserver },
];

const model = "dense";
const size = 4096;

async function all(socket: Socket): Promise<Buffer> {
  const chunks: Buffer[] = [];
  socket.on("data", (chunk: Buffer) => chunks.push(chunk));
  await once(socket, "close");
  return Buffer.concat(chunks);
}

/** A connection as it came to the server and as it went back. */
interface Passed {
  readonly up: Buffer;
  readonly down: Buffer;
}

/** Stands between the command and the server, and keeps every byte that passes. */
async function recorder(
  to: string,
): Promise<{ port: number; passed: Promise<Passed>[]; close(): Promise<void> }> {
  const passed: Promise<Passed>[] = [];
  const [host = "", port = ""] = to.split(":");
  const server = createServer((client) => {
    const there = connect({ host, port: Number(port) });
    client.pipe(there).pipe(client);
    for (const [one, other] of [
      [client, there],
      [there, client],
    ] as const) {
      one.on("error", () => other.destroy());
    }
    passed.push(Promise.all([all(client), all(there)]).then(([up, down]) => ({ up, down })));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    passed,
    async close() {
      server.close();
      await once(server, "close");
    },
  };
}

/** Sends bytes, and gives all that comes back until the server ends the connection. */
async function exchanged(port: number, request: Buffer): Promise<Buffer> {
  const socket = connect({ host: "127.0.0.1", port });
  socket.write(request);
  return all(socket);
}

function post(body: Buffer, headers: Readonly<Record<string, string>>): Buffer {
  const lines = Object.entries({ ...headers, "Content-Length": `${body.length}` });
  const head = [
    `POST /v2/models/${model}/infer HTTP/1.1`,
    "Host: somebody",
    "Connection: close",
    ...lines.map(([name, value]) => `${name}: ${value}`),
  ].join("\r\n");
  return Buffer.concat([Buffer.from(`${head}\r\n\r\n`), body]);
}

const values = Array.from({ length: size }, (_, index) => Math.sin(index));

function inJson(shape: readonly number[]): Buffer {
  const data = values.slice(0, shape.at(-1));
  const body = Buffer.from(JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape, data }] }));
  return post(body, { "Content-Type": "application/json" });
}

function inBytes(): Buffer {
  const raw = Buffer.from(Float32Array.from(values).buffer);
  const parameters = { binary_data_size: raw.length };
  const head = Buffer.from(
    JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, size], parameters }] }),
  );
  return post(Buffer.concat([head, raw]), {
    "Content-Type": "application/octet-stream",
    "Inference-Header-Content-Length": `${head.length}`,
  });
}

/** The command's report of inferences when it is stopped. */
interface Report {
  readonly observed: readonly {
    readonly model: string;
    readonly requests: number;
    readonly failed: number;
  }[];
  readonly others: number;
  readonly unanswered: number;
  readonly unreadConnections: number;
}

async function check(context: PartContext, kind: Kind, served: ServedModel): Promise<void> {
  const open: { close(): Promise<void> }[] = [];
  const folder = await mkdtemp(join(tmpdir(), `longshore-${kind.name}-`));
  const say = (name: string, good: boolean, detail: string): void =>
    context.told({ name: `${kind.name}: ${name}`, outcome: good ? "passed" : "failed", detail });
  try {
    const spread = { copies: 1, threads: 1 };
    const peer = await kind.start({ models: [served], cores: [0, 1], spread, folder });
    open.push(peer);
    const between = await recorder(peer.http);
    open.push(between);
    const port = await freePort();
    const front = `http://127.0.0.1:${between.port}`;
    const observer = await startServerProcess({
      command: process.execPath,
      args: [command, "observe", "--in-front-of", front, "--port", `${port}`, "--json"],
      readyUrl: `http://127.0.0.1:${port}/v2/health/ready`,
      // Its report comes last.
      endMs: 120_000,
    });
    open.push(observer);
    const asking = [
      inJson([1, size]),
      inJson([1, size]),
      ...(kind.binary ? [inBytes(), inBytes()] : []),
      inJson([1, 3]),
    ];
    const statuses: number[] = [];
    let unchanged = 0;
    let bytes = 0;
    for (const request of asking) {
      const reply = await exchanged(port, request);
      const seen = await between.passed.at(-1);
      if (seen?.up.equals(request) && seen.down.equals(reply)) unchanged++;
      bytes += request.length + reply.length;
      statuses.push(Number(/^HTTP\/1\.1 (\d+)/.exec(reply.subarray(0, 20).toString("latin1"))?.[1]));
    }
    const detail = `${unchanged} of ${asking.length} exchanges, ${bytes} bytes; statuses ${statuses.join()}`;
    const answers = statuses.every((status, index) => (status === 200) === index < asking.length - 1);
    say("every byte passes as it is, both ways", answers && unchanged === asking.length, detail);
    await observer.close();
    const lines = observer.output().trim().split("\n");
    const report = lines
      .map((line) => JSON.parse(line) as Report)
      .find(({ observed }) => Array.isArray(observed));
    const seen = report?.observed[0];
    const asks = await Promise.all(between.passed);
    // Only the wait until it listens sends any other request.
    const others = asks.filter(({ up }) => up.subarray(0, 4).toString("latin1") === "GET ").length;
    const counts = seen?.model === model && seen.requests === asking.length && seen.failed === 1;
    const rest = report?.others === others && report.unanswered === 0 && report.unreadConnections === 0;
    say("its report counts them", counts && rest, JSON.stringify({ ...report, observed: seen }));
  } finally {
    for (const one of open.reverse()) await one.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** `longshore observe` in front of other servers: they and their clients see the same bytes as without it. */
export const observePart: Part = {
  name: "observe",
  async run(context) {
    const folder = await mkdtemp(join(tmpdir(), "longshore-observe-"));
    try {
      const file = join(folder, "dense.onnx");
      await writeFile(file, denseModel({ input: { name: "x", shape: [1, size] }, output: "y", seed: 1 }));
      const input = { name: "x", datatype: "FP32", shape: [1, size] } as const;
      const output = { name: "y", datatype: "FP32", shape: [1, 16] } as const;
      await eachSelected(context, kinds, (kind) =>
        check(context, kind, { name: model, file, input, output, batch: 1 }),
      );
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};
