/**
 * `bench serve --part listeners`: processor time of a small call at our listeners and at Node.js's servers, each in a process of its own. The handler reads 1 kB and answers 200
 * bytes, as a body over HTTP/1.1 or as `ModelInfer` over gRPC, on 8 connections with one call at a time. `our listener over node:...` is `--http node`; `alone` is Node.js's
 * server with a handler that does the same and no more. Servers take turns and reverse turns.
 */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { connect, type ClientHttp2Session } from "node:http2";
import { fileURLToPath } from "node:url";
import { seededRandom } from "@longshore/core";
import { type Bench, type BenchContext, type Measured, numberOf, quantile, type Row } from "./harness.ts";
import { answerBytes, grpcRequest, requestBytes } from "./listeners/messages.ts";
import type { ServerKind } from "./listeners/server.ts";
import { Connection } from "./load/connection.ts";

/** Calls of each server in a turn. Turns are short, so that what else the machine does falls on all of them. */
const calls = 500;
/** Turns before the first that counts, so that all code is compiled. */
const warmUp = 16;
const connections = 8;
/** The quantile of the turns that counts: whatever else runs on the machine only adds to a call's processor time. */
const quietRatio = 0.25;

const body = Buffer.alloc(requestBytes);
const head = `POST /v2/models/m/infer HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-type: application/octet-stream\r\ncontent-length: ${body.byteLength}\r\n\r\n`;

/** A client that makes this many calls. */
interface Client {
  run(count: number): Promise<void>;
  close(): void;
}

/** Calls one after the other on each connection. */
async function onEach<T>(open: readonly T[], count: number, call: (on: T) => Promise<void>): Promise<void> {
  let left = count;
  await Promise.all(
    open.map(async (one) => {
      while (left-- > 0) await call(one);
    }),
  );
}

function overHttp(port: number): Client {
  const open = Array.from({ length: connections }, () => new Connection(port));
  return {
    run: (count) =>
      onEach(open, count, async (one) => {
        const { status } = await one.send(head, body);
        if (status !== 200) throw new Error(`status ${status}`);
      }),
    close: () => open.forEach((one) => one.close()),
  };
}

function overHttp2(port: number): Client {
  const open = Array.from({ length: connections }, () => connect(`http://127.0.0.1:${port}`));
  const call = (session: ClientHttp2Session): Promise<void> =>
    new Promise((resolve, reject) => {
      let bytes = 0;
      const stream = session.request({
        ":method": "POST",
        ":path": "/inference.GRPCInferenceService/ModelInfer",
        "content-type": "application/grpc",
        te: "trailers",
      });
      stream.on("trailers", (trailers) => {
        if (trailers["grpc-status"] !== "0") reject(new Error(`grpc-status ${trailers["grpc-status"]}`));
      });
      stream.on("data", (chunk: Buffer) => (bytes += chunk.byteLength));
      stream.on("error", reject).on("close", () => {
        if (bytes < answerBytes) reject(new Error(`${bytes} bytes came back`));
        resolve();
      });
      stream.end(grpcRequest);
    });
  return {
    run: (count) => onEach(open, count, call),
    close: () => open.forEach((session) => session.destroy()),
  };
}

interface Subject {
  readonly name: string;
  readonly kind: ServerKind;
  client(port: number): Client;
}

const subjects: readonly Subject[] = [
  { name: "HTTP/1.1, our reader", kind: "http own", client: overHttp },
  { name: "HTTP/1.1, our listener over node:http", kind: "http node", client: overHttp },
  { name: "HTTP/1.1, node:http alone", kind: "http bare", client: overHttp },
  { name: "gRPC, our HTTP/2", kind: "grpc own", client: overHttp2 },
  { name: "gRPC, our listener over node:http2", kind: "grpc node", client: overHttp2 },
  { name: "gRPC, node:http2 alone", kind: "grpc bare", client: overHttp2 },
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
async function turn(running: Running): Promise<number> {
  const client = running.client(running.port);
  try {
    await client.run(connections * 2);
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
    bareHttpRatio: { atLeast: 1.25 },
    nodeHttp2Share: { atMost: 0.6 },
  },
  async run(context: BenchContext): Promise<Measured> {
    const rounds = numberOf(context.args, "rounds", 25);
    const running: Running[] = [];
    const rows: Row[] = [];
    try {
      for (const subject of subjects) running.push(await start(subject));
      for (let at = 0; at < warmUp; at++) for (const one of running) await turn(one);
      for (let at = 0; at < rounds; at++) {
        const order = at % 2 === 0 ? running : [...running].reverse();
        for (const one of order) {
          const micros = await turn(one);
          one.micros.push(micros);
          rows.push({ round: at, server: one.name, cpuMicros: micros });
        }
      }
    } finally {
      for (const { child } of running) child.disconnect();
    }
    const random = seededRandom(context.seed);
    const turns = Array.from({ length: rounds }, (_, at) => at);
    /** A statistic of all rounds, and its 95 % interval by bootstrap over the rounds. */
    const said = (name: string, of: (rounds: readonly number[]) => number): number => {
      const others = Array.from({ length: 1000 }, () =>
        of(turns.map(() => Math.floor(random.next() * rounds))),
      );
      const [low, high] = [quantile(others, 0.025), quantile(others, 0.975)];
      context.say(`${name.padEnd(60)} ${of(turns).toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`);
      return of(turns);
    };
    const quiet = (kind: ServerKind) => {
      const micros = running.find((one) => one.kind === kind)?.micros ?? [];
      return (of: readonly number[]): number =>
        quantile(
          of.map((at) => micros[at] ?? NaN),
          quietRatio,
        );
    };
    for (const { name, kind } of running) said(`${name}: us of processor time per call`, quiet(kind));
    const ratio = (figure: string, above: ServerKind, below: ServerKind): number =>
      said(figure, (of) => quiet(above)(of) / quiet(below)(of));
    const figures = {
      nodeHttpRatio: ratio("nodeHttpRatio", "http node", "http own"),
      bareHttpRatio: ratio("bareHttpRatio", "http bare", "http own"),
      nodeHttp2Share: ratio("nodeHttp2Share", "grpc own", "grpc node"),
      bareHttp2Share: ratio("bareHttp2Share", "grpc own", "grpc bare"),
    };
    return { figures, rows };
  },
};
