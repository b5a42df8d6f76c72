/**
 * A load generator as a process of its own: it sends requests at their due times whatever the outcome of earlier ones (open
 * loop), with whole bodies, and reports the replies and how busy it was itself.
 */
import { Connection } from "./connection.ts";
import type { FromGenerator, PhaseResult, Stream, StreamResult, ToGenerator } from "./messages.ts";

const say = (message: FromGenerator): void => void process.send?.(message);

/** Idle connections that are kept for the next phase. */
let idle: Connection[] = [];
let idlePort = 0;
let opened = 0;

function connectionTo(port: number): Connection {
  for (let index = idle.length - 1; index >= 0; index--) {
    const one = idle[index];
    if (one?.closed) idle.splice(index, 1);
    else if (one?.idle) {
      idle.splice(index, 1);
      return one;
    }
  }
  opened++;
  return new Connection(port);
}

interface Sending {
  readonly stream: Stream;
  readonly head: string;
  readonly body: Buffer;
  readonly expected: Buffer;
  /** Whether it requests the times of its stages. */
  readonly timed: boolean;
  readonly statuses: number[];
  readonly latencyMs: number[];
  readonly serverMs: number[];
  readonly runMs: (number | null)[];
}

function prepared(stream: Stream): Sending {
  const json = Buffer.from(stream.json);
  const body = Buffer.concat([json, Buffer.alloc(stream.tensorBytes)]);
  const headers = Object.entries({
    host: "127.0.0.1",
    "content-type": "application/octet-stream",
    "content-length": String(body.byteLength),
    ...(stream.tensorBytes > 0 ? { "inference-header-content-length": String(json.byteLength) } : {}),
    ...stream.headers,
  });
  return {
    stream,
    head: `POST ${stream.path} HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n`,
    body,
    expected: Buffer.from(stream.expected, "base64"),
    timed: "longshore-account" in stream.headers,
    statuses: [],
    latencyMs: [],
    serverMs: [],
    runMs: [],
  };
}

/** The time of its run that a reply reports, in milliseconds. */
function runOf(head: string): number | null {
  const text = /\r\nserver-timing: [^\r]*\brun;dur=([\d.]+)/i.exec(head)?.[1];
  return text === undefined ? null : Number(text);
}

async function send(sending: Sending, index: number, port: number, dueMs: number): Promise<void> {
  const connection = connectionTo(port);
  const sentMs = performance.now();
  let status = 0;
  let runMs: number | null = null;
  try {
    const reply = await connection.send(sending.head, sending.body);
    status = reply.status;
    runMs = sending.timed ? runOf(reply.head) : null;
    if (status === 200) {
      const tail = reply.body.subarray(reply.body.byteLength - sending.expected.byteLength);
      if (!tail.equals(sending.expected)) status = -1;
    } else if (!/"reason":"(?:rejected|queue-full)"/.test(reply.body.toString("latin1"))) status = 1;
    idle.push(connection);
  } catch {
    connection.close();
  }
  const nowMs = performance.now();
  sending.statuses[index] = status;
  sending.latencyMs[index] = nowMs - dueMs;
  sending.serverMs[index] = nowMs - sentMs;
  sending.runMs[index] = runMs;
}

async function phase(port: number, streams: readonly Stream[]): Promise<PhaseResult> {
  if (port !== idlePort) {
    for (const one of idle) one.close();
    idle = [];
    idlePort = port;
  }
  opened = 0;
  const all = streams.map(prepared);
  const queue = all
    .flatMap((sending) => sending.stream.arrivals.map((atMs, index) => ({ sending, atMs, index })))
    .sort((a, b) => a.atMs - b.atMs);
  const cpu = process.cpuUsage();
  const startMs = performance.now();
  const under: Promise<void>[] = [];
  const lags: number[] = [];
  let next = 0;
  while (next < queue.length) {
    const nowMs = performance.now() - startMs;
    for (let one = queue[next]; one && one.atMs <= nowMs; one = queue[++next]) {
      lags.push(performance.now() - startMs - one.atMs);
      under.push(send(one.sending, one.index, port, startMs + one.atMs));
    }
    const waitMs = (queue[next]?.atMs ?? 0) - (performance.now() - startMs);
    // Timers fire up to a millisecond late, which the report tells; spinning would take a core from the server.
    await new Promise((resolve) => setTimeout(resolve, Math.max(0, waitMs)));
  }
  await Promise.all(under);
  const tookMs = performance.now() - startMs;
  const { user, system } = process.cpuUsage(cpu);
  lags.sort((a, b) => a - b);
  return {
    streams: all.map(({ stream, statuses, latencyMs, serverMs, runMs }): StreamResult => ({
      name: stream.name,
      statuses,
      latencyMs,
      serverMs,
      runMs,
    })),
    tookMs,
    cpuRatio: (user + system) / 1000 / tookMs,
    lagMs: lags[Math.floor(lags.length * 0.99)] ?? 0,
    connections: opened,
  };
}

process.on("message", (message: ToGenerator) => {
  if (message.kind === "end") process.exit(0);
  void phase(message.port, message.streams).then((result) => say({ kind: "result", result }));
});
process.once("disconnect", () => process.exit(1));
say({ kind: "ready" });
