import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { connect, type ClientHttp2Session } from "node:http2";
import { fileURLToPath } from "node:url";
import { type Bench, type BenchContext, type Measured, median, numberOf, type Row } from "./harness.ts";
import { Connection } from "./load/connection.ts";

/** Calls of each server in a round; as many before the first round, so that all code is compiled. */
const calls = 6000;
const connections = 8;

const body = Buffer.alloc(1000);
const headOf = (more: string): string =>
  `POST /v2/models/m/infer HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/octet-stream\r\n${more}content-length: ${body.byteLength}\r\n\r\n`;

/** A client that makes this many calls. */
interface Client {
  run(count: number): Promise<void>;
  close(): void;
}

function overHttp(port: number, more = ""): Client {
  const open = Array.from({ length: connections }, () => new Connection(port));
  const head = headOf(more);
  return {
    async run(count) {
      let left = count;
      const each = async (one: Connection): Promise<void> => {
        while (left-- > 0) {
          const { status } = await one.send(head, body);
          if (status !== 200) throw new Error(`status ${status}`);
        }
      };
      await Promise.all(open.map(each));
    },
    close: () => open.forEach((one) => one.close()),
  };
}

function overHttp2(port: number): Client {
  const open = Array.from({ length: connections }, () => connect(`http://127.0.0.1:${port}`));
  const message = Buffer.alloc(5);
  const one = (session: ClientHttp2Session): Promise<void> =>
    new Promise((resolve, reject) => {
      const stream = session.request({
        ":method": "POST",
        ":path": "/inference.GRPCInferenceService/ServerLive",
        "content-type": "application/grpc",
        te: "trailers",
      });
      stream.on("trailers", (trailers) => {
        if (trailers["grpc-status"] !== "0") reject(new Error(`grpc-status ${trailers["grpc-status"]}`));
      });
      stream.on("error", reject).on("close", () => resolve());
      stream.resume();
      stream.end(message);
    });
  return {
    async run(count) {
      let left = count;
      await Promise.all(
        open.map(async (session) => {
          while (left-- > 0) await one(session);
        }),
      );
    },
    close: () => open.forEach((session) => session.destroy()),
  };
}

interface Subject {
  readonly name: string;
  readonly kind: string;
  client(port: number): Client;
}

const subjects: readonly Subject[] = [
  { name: "ours over HTTP/1.1", kind: "http", client: (port) => overHttp(port) },
  // A header that comes twice is for Node.js's parser, for the rest of the connection.
  {
    name: "ours behind Node.js's parser",
    kind: "http",
    client: (port) => overHttp(port, "x-again: 1\r\nx-again: 2\r\n"),
  },
  { name: "node:http", kind: "node:http", client: (port) => overHttp(port) },
  { name: "ours over gRPC", kind: "grpc", client: overHttp2 },
  { name: "node:http2", kind: "node:http2", client: overHttp2 },
];

interface Running extends Subject {
  readonly child: ChildProcess;
  readonly port: number;
  readonly micros: number[];
}

async function start(subject: Subject): Promise<Running> {
  const child = fork(fileURLToPath(new URL("./listeners/server.js", import.meta.url)), [subject.kind]);
  const [{ port }] = (await once(child, "message")) as [{ readonly port: number }];
  return { ...subject, child, port, micros: [] };
}

async function cpuMicros(child: ChildProcess): Promise<number> {
  const answered = once(child, "message");
  child.send({});
  const [message] = (await answered) as [{ readonly cpuMicros: number }];
  return message.cpuMicros;
}

/** On connections of its own: idle ones are closed by servers while others are measured. */
async function round(running: Running): Promise<number> {
  const client = running.client(running.port);
  try {
    await client.run(connections * 4);
    const before = await cpuMicros(running.child);
    await client.run(calls);
    return ((await cpuMicros(running.child)) - before) / calls;
  } finally {
    client.close();
  }
}

/** Processor time of small calls: our listeners beside Node.js's servers with a handler that does the same. */
export const bench: Bench = {
  name: "listeners",
  about: "processor time of a small call: our HTTP/1.1 and gRPC listeners beside node:http and node:http2",
  options: ["--rounds N"],
  bars: {
    nodeHttpRatio: { atLeast: 1.25 },
  },
  async run(context: BenchContext): Promise<Measured> {
    const rounds = numberOf(context.args, "rounds", 7);
    const running: Running[] = [];
    const rows: Row[] = [];
    try {
      for (const subject of subjects) running.push(await start(subject));
      for (const one of running) await round(one);
      for (let at = 0; at < rounds; at++) {
        const order = at % 2 === 0 ? running : [...running].reverse();
        for (const one of order) {
          const micros = await round(one);
          one.micros.push(micros);
          rows.push({ round: at, server: one.name, cpuMicros: micros });
        }
      }
    } finally {
      for (const { child } of running) child.disconnect();
    }
    const [own = NaN, behind = NaN, http = NaN, grpc = NaN, http2 = NaN] = running.map((one) => {
      context.say(`${one.name.padEnd(30)} ${median(one.micros).toFixed(1)} us of processor time for a call`);
      return median(one.micros);
    });
    const figures = {
      nodeHttpRatio: http / own,
      behindNodeRatio: behind / own,
      nodeHttp2Ratio: http2 / grpc,
    };
    return { figures, rows };
  },
};
