import { Connection } from "../load/connection.ts";

/** One request: when it is due, and how long a run of it takes on a server of speed 1. */
export interface Arrival {
  readonly atMs: number;
  readonly workMs: number;
}

/** The results of the requests, in their order. */
export interface Driven {
  /** From the instant when each was due. */
  readonly tookMs: readonly number[];
  readonly failed: number;
}

/** A request without an answer for this long is given up, and counts with this time. */
const patienceMs = 5000;
const mostConnections = 256;
/** The model that the servers of this bench have. */
const model = "work";

function messageOf({ workMs }: Arrival): readonly [string, Buffer] {
  const body = Buffer.from(
    JSON.stringify({ inputs: [{ name: "x", datatype: "FP64", shape: [1], data: [workMs] }] }),
  );
  const head = `POST /v2/models/${model}/infer HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\ncontent-length: ${body.byteLength}\r\n\r\n`;
  return [head, body];
}

/** Sends requests when they are due, at most `together` at a time. */
export async function drive(
  port: number,
  arrivals: readonly Arrival[],
  together: number = mostConnections,
): Promise<Driven> {
  const free: Connection[] = [];
  const all = new Set<Connection>();
  const tookMs: number[] = arrivals.map(() => patienceMs);
  let failed = 0;
  const startedMs = performance.now();
  const waiting: (() => void)[] = [];
  let underWay = 0;

  async function send(index: number, arrival: Arrival): Promise<void> {
    let connection = free.pop();
    while (connection && !connection.idle) {
      all.delete(connection);
      connection.close();
      connection = free.pop();
    }
    connection ??= new Connection(port);
    all.add(connection);
    const dueMs = together === 1 ? performance.now() : startedMs + arrival.atMs;
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<undefined>((resolve) => {
      timer = setTimeout(() => resolve(undefined), patienceMs);
    });
    const reply = await Promise.race([connection.send(...messageOf(arrival)).catch(() => undefined), late]);
    clearTimeout(timer);
    if (reply?.status === 200) tookMs[index] = Math.min(patienceMs, performance.now() - dueMs);
    else failed++;
    if (reply) free.push(connection);
    else {
      all.delete(connection);
      connection.close();
    }
  }

  await Promise.all(
    arrivals.map(async (arrival, index) => {
      const waitMs = startedMs + arrival.atMs - performance.now();
      if (waitMs > 0) await new Promise((resolve) => setTimeout(resolve, waitMs));
      if (underWay >= together) await new Promise<void>((resolve) => waiting.push(resolve));
      underWay++;
      try {
        await send(index, arrival);
      } finally {
        underWay--;
        waiting.shift()?.();
      }
    }),
  );
  for (const one of all) one.close();
  return { tookMs, failed };
}
