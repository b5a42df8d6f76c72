/**
 * `bench gateway --part quotas`: do limits of tenants hold over two gateways, and does a light tenant keep its time beside one that sends ten times its limit?
 *
 * - A server with two instances: the protocol over real sockets, runs that hold an instance for 200 ms and use no processor, so that the machine is not what is measured.
 * - Two `longshore gateway` processes before it. The first has the limits, the second leases them (`quotas: { share: true, from: ... }`). Tenants have keys.
 * - **Rate**: `heavy` may send 10 requests a second and sends 100, to both gateways. `overRate`: requests that were let in after the first two seconds over the limit, less 1.
 * - **Concurrency**: `heavy` may have 1 request under way and sends 50 a second, ten times what one instance can do, while `light` sends one about every 400 ms to
 *   the gateways in turn. `lightP99VsAlone`: the median over rounds of the 99th percentile of `light` over that without `heavy`, in turns of some seconds each; `lightQueueP99Ms` is its
 *   wait for an instance, which a busy machine does not lengthen. `overConcurrency`: instances that
 *   `heavy` kept busy on average over 1, less 1.
 */
import { type ChildProcess, execFileSync, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { loadavg, tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { command, type RunningPeer, startGateway } from "@longshore/conformance";
import { seededRandom } from "@longshore/core";
import {
  type Bench,
  type BenchContext,
  type Measured,
  numberOf,
  quantile,
  type Row,
  saidMedian,
} from "./harness.ts";
import { Connection } from "./load/connection.ts";
import type { FarmOrder } from "./route/farm-process.ts";

const instances = 2;
/** The model of the servers of `route/farm-process.ts`: it takes the time that a request names. */
const model = "work";
const runMs = 200;
/** A run of the part that measures the rate: short, so that the instances are never what is short. */
const shortMs = 1;
const heavyRate = 10;
/** How many times its limit the heavy tenant sends. */
const excess = 10;
/** Mean time between requests of the light tenant. It never has two under way, so an instance is enough for it. */
const lightMs = 400;
const warmMs = 2000;

const tenants = ["heavy", "light", "gateway"] as const;
type Tenant = (typeof tenants)[number];
type Keys = Readonly<Record<Tenant, string>>;

/** Requests of a tenant: when they are due, and how long a run takes. */
interface Load {
  readonly key: string;
  /** Whether a request waits for the answer to the one before. */
  readonly inTurn: boolean;
  readonly atMs: readonly number[];
  readonly workMs: number;
}

interface Sent {
  readonly atMs: number;
  readonly tookMs: number;
  readonly status: number;
  readonly body: string;
  /** Time in the queue of the server, by its reply. */
  readonly queueMs: number;
}

function messageOf({ key, workMs }: Load): readonly [string, Buffer] {
  const body = Buffer.from(
    JSON.stringify({ inputs: [{ name: "x", datatype: "FP64", shape: [1], data: [workMs] }] }),
  );
  const head = `POST /v2/models/${model}/infer HTTP/1.1\r\nhost: 127.0.0.1\r\nauthorization: Bearer ${key}\r\nlongshore-account: 1\r\ncontent-type: application/json\r\ncontent-length: ${body.byteLength}\r\n\r\n`;
  return [head, body];
}

/** Sends the requests when they are due, to the gateways in turn. */
async function send(ports: readonly number[], load: Load): Promise<readonly Sent[]> {
  const message = messageOf(load);
  const free = ports.map((): Connection[] => []);
  const startedMs = performance.now();
  const one = async (atMs: number, index: number): Promise<Sent> => {
    await new Promise((resolve) => setTimeout(resolve, startedMs + atMs - performance.now()));
    const at = index % ports.length;
    let connection = free[at]?.pop();
    while (connection && !connection.idle) connection = free[at]?.pop();
    connection ??= new Connection(ports[at] ?? 0);
    const sentMs = performance.now();
    const reply = await connection.send(...message).catch((thrown: unknown) => String(thrown));
    const tookMs = performance.now() - sentMs;
    if (typeof reply === "string") return { atMs, tookMs, status: 0, body: reply, queueMs: NaN };
    free[at]?.push(connection);
    const body = reply.body.toString("latin1");
    const queueMs = Number(/"stage\\":\\"queue\\",.{0,40}?"tookMs\\":([0-9.e-]+)/.exec(body)?.[1]);
    return { atMs, tookMs, status: reply.status, body, queueMs };
  };
  let before: Promise<unknown> = Promise.resolve();
  const sent = await Promise.all(
    load.atMs.map((atMs, index) => {
      if (!load.inTurn) return one(atMs, index);
      const next = before.then(() => one(atMs, index));
      before = next;
      return next;
    }),
  );
  for (const connection of free.flat()) connection.close();
  return sent;
}

function every(ms: number, forMs: number, spread: number, draw: () => number): readonly number[] {
  const instants: number[] = [];
  for (let atMs = ms * draw(); atMs < forMs; atMs += ms * (1 + spread * (2 * draw() - 1)))
    instants.push(atMs);
  return instants;
}

/** Throws for an answer that is neither one nor a limit of a tenant. */
function countOf(sent: readonly Sent[]): number {
  const wrong = sent.find(({ status }) => status !== 200 && status !== 429);
  if (wrong) throw new Error(`a gateway answered ${wrong.status}: ${wrong.body.slice(0, 200)}`);
  return sent.filter(({ status }) => status === 200).length;
}

async function startFarm(): Promise<readonly [ChildProcess, string]> {
  const farm = fork(fileURLToPath(new URL("./route/farm-process.js", import.meta.url)));
  const order: FarmOrder = {
    servers: [{ speed: 1, slots: instances }],
    requests: Array.from({ length: 100 }, () => ({ workMs: runMs, size: 1 })),
  };
  farm.send(order);
  const [told] = (await once(farm, "message")) as [unknown];
  if (!Array.isArray(told)) throw new Error("the server did not start");
  return [farm, new URL(String(told[0])).host];
}

/** Keys for the tenants and for the gateway that leases, as an operator makes them. */
function makeKeys(folder: string): Keys {
  const file = join(folder, "keys.json");
  const keyOf = (tenant: Tenant): string =>
    execFileSync(
      process.execPath,
      [
        command,
        "keys",
        "add",
        "--file",
        file,
        "--tenant",
        tenant,
        "--right",
        tenant === "gateway" ? "directory:join" : "infer",
      ],
      { encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] },
    ).trim();
  const keys = { heavy: keyOf("heavy"), light: keyOf("light"), gateway: keyOf("gateway") };
  writeFileSync(join(folder, "identity.yaml"), "keys: { file: keys.json }\n");
  writeFileSync(join(folder, "gateway.key"), keys.gateway);
  return keys;
}

/** Starts both gateways with these limits of the heavy tenant. */
async function openGateways(folder: string, server: string, limits: string): Promise<readonly RunningPeer[]> {
  const opened: RunningPeer[] = [];
  for (const name of ["first", "second"]) {
    const [first] = opened;
    const share = first ? `share: true, from: "http://${first.http}", key: gateway.key, ` : "";
    const file = join(folder, `${name}.yaml`);
    writeFileSync(file, `quotas: { ${share}tenants: { heavy: { ${limits} } } }\n`);
    const args = ["--config", file, "--identity", join(folder, "identity.yaml")];
    opened.push(await startGateway({ servers: [server], args, errorsTo: join(folder, `${name}.log`) }));
  }
  return opened;
}

const portsOf = (gateways: readonly RunningPeer[]): readonly number[] =>
  gateways.map(({ http }) => Number(http.split(":")[1]));

interface Part {
  readonly folder: string;
  readonly server: string;
  readonly keys: Keys;
  readonly draw: () => number;
}

async function measureRate({ folder, server, keys, draw }: Part, forMs: number): Promise<Row> {
  const gateways = await openGateways(folder, server, `requestsPerSecond: ${heavyRate}`);
  try {
    const atMs = every(1000 / (heavyRate * excess), warmMs + forMs, 0.5, draw);
    const sent = await send(portsOf(gateways), { key: keys.heavy, inTurn: false, atMs, workMs: shortMs });
    countOf(sent);
    const counted = sent.filter((one) => one.atMs >= warmMs);
    const passed = counted.filter(({ status }) => status === 200).length;
    const first = sent.filter(
      (one, index) => index % 2 === 0 && one.atMs >= warmMs && one.status === 200,
    ).length;
    const most = (heavyRate * forMs) / 1000;
    return {
      kind: "rate",
      sent: counted.length,
      passed,
      passedAtFirst: first,
      most,
      over: passed / most - 1,
    };
  } finally {
    for (const one of gateways) await one.close();
  }
}

async function measureConcurrency(
  { folder, server, keys, draw }: Part,
  turns: number,
  turnMs: number,
): Promise<Row> {
  const gateways = await openGateways(folder, server, "concurrency: 1");
  const ports = portsOf(gateways);
  const tookMs = { alone: [] as number[], beside: [] as number[] };
  const queueMs: number[] = [];
  let [refused, passed, heavySent] = [0, 0, 0];
  const light = async (forMs: number): Promise<readonly Sent[]> => {
    const sent = await send(ports, {
      key: keys.light,
      inTurn: true,
      atMs: every(lightMs, forMs, 0.1, draw),
      workMs: runMs,
    });
    refused += sent.length - countOf(sent);
    return sent;
  };
  const heavy = (forMs: number): Promise<readonly Sent[]> =>
    send(ports, {
      key: keys.heavy,
      inTurn: false,
      atMs: every(runMs / excess, forMs, 0.5, draw),
      workMs: runMs,
    });
  try {
    await Promise.all([light(warmMs), heavy(warmMs)]);
    for (let turn = 0; turn < turns; turn++) {
      const alone = async (): Promise<void> => {
        for (const one of await light(turnMs)) tookMs.alone.push(one.tookMs);
      };
      const beside = async (): Promise<void> => {
        const [took, sent] = await Promise.all([light(turnMs), heavy(turnMs)]);
        for (const one of took) {
          tookMs.beside.push(one.tookMs);
          queueMs.push(one.queueMs);
        }
        passed += countOf(sent);
        heavySent += sent.length;
      };
      for (const one of turn % 2 === 0 ? [alone, beside] : [beside, alone]) await one();
    }
  } finally {
    for (const one of gateways) await one.close();
  }
  const of = (times: readonly number[]) => [0.5, 0.95, 0.99].map((ratio) => quantile(times, ratio));
  const [[aloneP50 = NaN, aloneP95 = NaN, aloneP99 = NaN], [p50 = NaN, p95 = NaN, p99 = NaN]] = [
    of(tookMs.alone),
    of(tookMs.beside),
  ];
  const busy = (passed * runMs) / (turns * turnMs);
  return {
    kind: "concurrency",
    light: tookMs.beside.length,
    refused,
    heavySent,
    passed,
    busy,
    over: busy - 1,
    aloneP50,
    aloneP95,
    aloneP99,
    p50,
    p95,
    p99,
    ratio: p99 / aloneP99,
    queueP99: quantile(queueMs, 0.99),
  };
}

async function run({ say, seed, args }: BenchContext): Promise<Measured> {
  const rounds = numberOf(args, "rounds", 3);
  const turns = numberOf(args, "turns", 4);
  const turnMs = 1000 * numberOf(args, "seconds", 10);
  const rows: Row[] = [];
  const folder = mkdtempSync(join(tmpdir(), "longshore-bench-quotas-"));
  say(`load average ${loadavg()[0]?.toFixed(1)}`);
  try {
    const keys = makeKeys(folder);
    for (let round = 0; round < rounds; round++) {
      const random = seededRandom(seed + round);
      const [farm, server] = await startFarm();
      const part = { folder, server, keys, draw: () => random.next() };
      try {
        const rate: Row = { round, ...(await measureRate(part, 2 * turnMs)) };
        say(
          `round ${round}: ${rate["passed"]} of ${rate["sent"]} requests passed, the limit is ${rate["most"]} (${rate["passedAtFirst"]} at the gateway that has it)`,
        );
        const both: Row = { round, ...(await measureConcurrency(part, turns, turnMs)) };
        const words = (name: string): string => Number(both[name]).toFixed(0);
        say(
          `round ${round}: light alone p50 ${words("aloneP50")} ms p95 ${words("aloneP95")} p99 ${words("aloneP99")}, beside heavy p50 ${words("p50")} p95 ${words("p95")} p99 ${words("p99")}: ${Number(both["ratio"]).toFixed(2)} (${both["light"]} requests, ${both["refused"]} refused, p99 of the wait for an instance ${Number(both["queueP99"]).toFixed(1)} ms); heavy kept ${Number(both["busy"]).toFixed(2)} instances busy with ${both["passed"]} of ${both["heavySent"]} requests`,
        );
        rows.push(rate, both);
      } finally {
        farm.kill();
      }
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  const worst = (kind: string, figure: string): number =>
    Math.max(...rows.filter((row) => row["kind"] === kind).map((row) => Number(row[figure])));
  const ratios = rows.filter(({ kind }) => kind === "concurrency").map(({ ratio }) => Number(ratio));
  const random = seededRandom(seed);
  return {
    figures: {
      overRate: worst("rate", "over"),
      overConcurrency: worst("concurrency", "over"),
      lightP99VsAlone: saidMedian({ say, figure: "lightP99VsAlone", draw: () => random.next() }, ratios),
      lightQueueP99Ms: worst("concurrency", "queueP99"),
      lightRefused: worst("concurrency", "refused"),
    },
    rows,
  };
}

export const bench: Bench = {
  name: "quotas",
  about: "limits of tenants over two gateways, and the time of a light tenant beside a heavy one",
  options: ["--rounds N", "--turns N", "--seconds N"],
  bars: {
    overRate: { atMost: 0.02 },
    overConcurrency: { atMost: 0.02 },
    lightP99VsAlone: { atMost: 1.3 },
    lightRefused: { atMost: 0 },
  },
  run,
};
