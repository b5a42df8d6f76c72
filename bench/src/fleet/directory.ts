import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startGateway, usageOf } from "@longshore/conformance";
import {
  type Clock,
  type DirectoryEntry,
  type Json,
  LongshoreError,
  readBody,
  silentObserver,
  type Statement,
} from "@longshore/core";
import { entryJson, housekeepingCall, type JoinRequest, sign } from "@longshore/core/internal";
import { httpTransport, newOperatorKey, operatorSigner, systemClock, systemRandom } from "@longshore/nodejs";
import { openRegistry } from "longshore";
import { quantile } from "../harness.ts";

/** The kinds of message from an endpoint to the directory. */
export const directoryWords = ["join", "renewal", "change", "leave"] as const;
type Word = (typeof directoryWords)[number];

/** The cost of messages at the directory server. */
export interface DirectoryFigures {
  /** Processor time of one, by what it tells, in milliseconds. */
  readonly processorMs: Readonly<Record<Word, number>>;
  /** From when one was sent until the directory showed it, or over HTTP was answered, in milliseconds by the clock: the median. */
  readonly seenMs: number;
  /** Heap for each endpoint that is in it; where it was measured. */
  readonly bytesPerEndpoint?: number;
}

/** A directory, from outside. */
interface ProbedDirectory {
  join(request: JoinRequest): Promise<unknown>;
  leave(id: string): Promise<unknown>;
  /** Resolves when it shows the endpoint, or does not, with that statement. */
  shows(id: string, there: boolean, state: Statement["state"]): Promise<void>;
  processorMs(): number;
}

/** Endpoints whose entries the operator has signed. */
async function signedRequests(
  endpoints: number,
): Promise<{ readonly publicLine: string; readonly requests: readonly JoinRequest[] }> {
  const { privatePem, publicLine } = newOperatorKey();
  const signer = operatorSigner(privatePem);
  const requests: JoinRequest[] = [];
  for (let index = 0; index < endpoints; index++) {
    const body: DirectoryEntry = {
      schemaVersion: 1,
      id: `server-${index}`,
      serial: 1,
      notBeforeMs: 0,
      notAfterMs: 253_402_300_799_999,
      tier: "edge",
      zone: `farm/r${Math.floor(index / 1000)}/s${Math.floor(index / 100)}`,
      trust: "operated",
    };
    const statement: Statement = {
      address: `http://10.${index >> 16}.${(index >> 8) & 255}.${index & 255}:8000`,
      serves: [{ segment: { model: "detect" } }, { segment: { model: "listen" } }],
      state: "movable",
    };
    const signed = { ...(await sign("directory entry", entryJson(body), signer)), body };
    requests.push({ schemaVersion: 1, id: body.id, tier: "edge", statement, signed });
  }
  return { publicLine, requests };
}

/** All join, in one go; then `each` of them tell each word, one after the other, each when the one before is seen. */
async function measured(
  probed: ProbedDirectory,
  requests: readonly JoinRequest[],
  each: number,
): Promise<Omit<DirectoryFigures, "bytesPerPlace">> {
  await Promise.all(requests.map((request) => probed.join(request)));
  const last = requests.at(-1);
  if (last) await probed.shows(last.id, true, "movable");
  const some = requests.slice(0, each);
  const seen: number[] = [];
  const tell = async (one: (request: JoinRequest) => Promise<void>): Promise<number> => {
    const from = probed.processorMs();
    for (const request of some) {
      const sentMs = performance.now();
      await one(request);
      seen.push(performance.now() - sentMs);
    }
    return (probed.processorMs() - from) / some.length;
  };
  const renewal = await tell(async (request) => void (await probed.join(request)));
  seen.length = 0;
  const change = await tell(async (request) => {
    await probed.join({ ...request, statement: { ...request.statement, state: "none" } });
    await probed.shows(request.id, true, "none");
  });
  const leave = await tell(async ({ id }) => {
    await probed.leave(id);
    await probed.shows(id, false, undefined);
  });
  const joined = await tell(async (request) => {
    await probed.join(request);
    await probed.shows(request.id, true, "movable");
  });
  return { processorMs: { join: joined, renewal, change, leave }, seenMs: quantile(seen, 0.5) };
}

/** The directory inside a gateway, called within the process: checks, leases and lists, without HTTP. */
export async function directoryHere(
  endpoints: number,
  each: number,
  heapBytes: () => number,
): Promise<DirectoryFigures> {
  const { publicLine, requests } = await signedRequests(endpoints);
  const before = heapBytes();
  const parts = { clock: systemClock(), random: systemRandom(), observer: silentObserver };
  const registry = openRegistry({ operatorKeys: publicLine, leaseMs: 3_600_000 }, parts);
  const { joins, directory } = registry;
  try {
    // As read from a socket: nothing is shared with who sent it.
    const told = (value: JoinRequest): unknown => JSON.parse(JSON.stringify(value));
    const figures = await measured(
      {
        join: (request) => joins.join(told(request), "farm"),
        leave: (id) => Promise.resolve(joins.leave({ id }, "farm")),
        async shows(id, there, state) {
          const as = (): boolean => {
            const entry = directory.snapshot().entries.find((one) => one.id === id);
            return there ? entry?.state === state : entry === undefined;
          };
          while (!as()) await new Promise((resolve) => setImmediate(resolve));
        },
        processorMs() {
          const { user, system } = process.cpuUsage();
          return (user + system) / 1000;
        },
      },
      requests,
      each,
    );
    return { ...figures, bytesPerEndpoint: (heapBytes() - before) / endpoints };
  } finally {
    await registry.close();
  }
}

/** The same over HTTP, with a gateway of its own: until a message is answered. */
export async function directoryOnSockets(endpoints: number, each: number): Promise<DirectoryFigures> {
  const folder = mkdtempSync(join(tmpdir(), "longshore-fleet-"));
  const { publicLine, requests } = await signedRequests(endpoints);
  const keys = join(folder, "operator.pub");
  writeFileSync(keys, `${publicLine}\n`);
  const gateway = await startGateway({ servers: [], args: ["--operator-keys", keys] });
  const clock: Clock = systemClock();
  const transport = httpTransport({ address: `http://${gateway.http}`, clock });
  const ask = async (path: string, body: Json): Promise<void> => {
    const parts = [new TextEncoder().encode(JSON.stringify(body))];
    const headers = { "content-type": "application/json" };
    const reply = await transport.send(
      { method: "POST", path, headers, body: { kind: "parts", parts } },
      housekeepingCall("fleet"),
    );
    const text = new TextDecoder().decode(await readBody(reply.body, { maxBytes: 2 ** 25 }));
    if (reply.status !== 200) throw new LongshoreError("bad-reply", "transport", `${path}: ${text}`);
  };
  try {
    return await measured(
      {
        // A request is plain data.
        join: (request) => ask("/v2/directory/join", request as unknown as Json),
        leave: (id) => ask("/v2/directory/leave", { id }),
        // It is shown in the turn in which it is answered.
        shows: () => Promise.resolve(),
        processorMs: () => 1000 * usageOf(gateway.pid).cpuSeconds,
      },
      requests,
      each,
    );
  } finally {
    await transport.close();
    await gateway.close();
    rmSync(folder, { recursive: true, force: true });
  }
}
