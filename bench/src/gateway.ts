import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningPeer, startEnvoy, startGateway, startOwn, Unavailable } from "@longshore/conformance";
import { seededRandom } from "@longshore/core";
import {
  type Bench,
  type BenchContext,
  type Measured,
  medianInterval,
  quantile,
  type Row,
} from "./harness.ts";
import { addedRatio } from "./added-ratio.ts";
import { Connection } from "./load/connection.ts";
import { meanOfRow } from "./load/models.ts";
import { meanRequest, type PreparedRequest } from "./mean-request.ts";

/** The bodies that are compared: the cost of a proxy is headers for the small one, and copying for the large one. */
const bodies = {
  "1k": { floats: 230, each: 250, warmUp: 2500 },
  "600k": { floats: 150_000, each: 60, warmUp: 500 },
} as const;
type BodyName = keyof typeof bodies;
const names = ["1k", "600k"] as const;

const rounds = 8;
/** Requests on each connection before anything is measured, and the rounds that are then: of programs that run since a second. */
const freshUp = 100;
const freshRounds = 3;
/** Connections of the runs that measure throughput. */
const together = 8;

/** Sends `count` requests one after another and gives their times in milliseconds. Throws when an answer is wrong. */
async function send(
  connection: Connection,
  { head, body }: PreparedRequest,
  count: number,
): Promise<number[]> {
  const tookMs: number[] = [];
  for (let index = 0; index < count; index++) {
    const startedMs = performance.now();
    const reply = await connection.send(head, body);
    tookMs.push(performance.now() - startedMs);
    const answer = reply.body.readFloatLE(reply.body.byteLength - 4);
    if (reply.status !== 200 || Math.abs(answer - 3) > 1e-4) {
      throw new Error(`status ${reply.status}: ${reply.body.toString("latin1").slice(0, 300)}`);
    }
  }
  return tookMs;
}

interface Subject {
  readonly name: "direct" | "gateway" | "envoy";
  readonly port: number;
  readonly times: Record<BodyName, number[][]>;
  /** The same before the compiler of Node.js was done with what is hot. */
  readonly fresh: Record<BodyName, number[][]>;
  readonly perSecond: Record<BodyName, number[]>;
}

async function measure(subject: Subject, name: BodyName, connections: readonly Connection[]): Promise<void> {
  const { floats, each } = bodies[name];
  const prepared = meanRequest(floats);
  const [first] = connections;
  if (!first) throw new Error("no connection");
  subject.times[name].push(await send(first, prepared, each));
  const startedMs = performance.now();
  await Promise.all(connections.map((one) => send(one, prepared, Math.ceil(each / 4))));
  const tookMs = performance.now() - startedMs;
  subject.perSecond[name].push((connections.length * Math.ceil(each / 4) * 1000) / tookMs);
}

/** A B C, then C B A. */
function inTurn(subjects: readonly Subject[], round: number): readonly Subject[] {
  return round % 2 === 0 ? subjects : [...subjects].reverse();
}

async function run({ say, seed }: BenchContext): Promise<Measured> {
  const folder = mkdtempSync(join(tmpdir(), "longshore-bench-gateway-"));
  const opened: RunningPeer[] = [];
  const notRun: string[] = [];
  const random = seededRandom(seed);
  try {
    const repository = join(folder, "models");
    mkdirSync(join(repository, "mean", "1"), { recursive: true });
    writeFileSync(join(repository, "mean", "1", "model.onnx"), meanOfRow());
    for (let index = 0; index < 2; index++) {
      opened.push(await startOwn({ repository, args: ["--log-level", "none"] }));
    }
    const servers = opened.map(({ http }) => http);
    const gateway = await startGateway({ servers });
    opened.push(gateway);
    const proxy = await startEnvoy({ upstreams: servers, folder }).catch((thrown: unknown) => {
      if (!(thrown instanceof Unavailable)) throw thrown;
      notRun.push(`Envoy beside: ${thrown.message}`);
      return undefined;
    });
    if (proxy) opened.push(proxy);
    const port = ({ http }: RunningPeer): number => Number(http.split(":")[1]);
    const subject = (name: Subject["name"], peer: RunningPeer): Subject => ({
      name,
      port: port(peer),
      times: { "1k": [], "600k": [] },
      fresh: { "1k": [], "600k": [] },
      perSecond: { "1k": [], "600k": [] },
    });
    const [server] = opened;
    if (!server) throw new Error("no server");
    const subjects = [
      subject("direct", server),
      subject("gateway", gateway),
      ...(proxy ? [subject("envoy", proxy)] : []),
    ];
    const connections = new Map<Subject, readonly Connection[]>();
    // A connection that a server closed because it was idle for too long is opened again.
    const connectionsOf = (one: Subject): readonly Connection[] => {
      const before = connections.get(one) ?? [];
      const its = Array.from({ length: together }, (_, index) => {
        const kept = before[index];
        return kept && !kept.closed ? kept : new Connection(one.port);
      });
      connections.set(one, its);
      return its;
    };
    const warm = async (one: Subject, name: BodyName, count: number): Promise<void> => {
      const prepared = meanRequest(bodies[name].floats);
      await Promise.all(connectionsOf(one).map((connection) => send(connection, prepared, count)));
    };
    for (const name of names) {
      for (const one of subjects) await warm(one, name, freshUp);
      for (let round = 0; round < freshRounds; round++) {
        for (const one of inTurn(subjects, round)) {
          const [first] = connectionsOf(one);
          if (first)
            one.fresh[name].push(await send(first, meanRequest(bodies[name].floats), bodies[name].each));
        }
      }
    }
    for (const one of subjects) {
      for (const name of names) await warm(one, name, bodies[name].warmUp);
      say(`${one.name} is warm`);
    }
    for (let round = 0; round < rounds; round++) {
      for (const name of names) {
        for (const one of inTurn(subjects, round)) await measure(one, name, connectionsOf(one));
      }
    }
    for (const its of connections.values()) for (const one of its) one.close();
    return summarise(subjects, say, () => random.next(), notRun);
  } finally {
    await Promise.all(opened.map((one) => one.close()));
    rmSync(folder, { recursive: true, force: true });
  }
}

function summarise(
  subjects: readonly Subject[],
  say: BenchContext["say"],
  draw: () => number,
  notRun: string[],
): Measured {
  const figures: Record<string, number> = {};
  const rows: Row[] = [];
  const [direct, ours, theirs] = subjects;
  for (const name of names) {
    for (const one of subjects) {
      const all = one.times[name].flat();
      const perSecond = medianInterval(one.perSecond[name], draw);
      rows.push(
        ...one.times[name].map((times, round) => ({
          subject: one.name,
          body: name,
          round,
          p50Ms: quantile(times, 0.5),
          p99Ms: quantile(times, 0.99),
          perSecond: one.perSecond[name][round] ?? null,
        })),
      );
      say(
        `${name.padEnd(5)} ${one.name.padEnd(8)} p50 ${quantile(all, 0.5).toFixed(2)} ms  p99 ${quantile(all, 0.99).toFixed(2)} ms  ${perSecond.median.toFixed(0)}/s (${perSecond.low.toFixed(0)}..${perSecond.high.toFixed(0)}) at ${together} connections`,
      );
      if (one === direct) continue;
      const added = (when: "times" | "fresh", ratio: number): ReturnType<typeof medianInterval> =>
        medianInterval(
          one[when][name].map(
            (times, round) => quantile(times, ratio) - quantile(direct?.[when][name][round] ?? [], ratio),
          ),
          draw,
        );
      const [p50, p99, fresh] = [added("times", 0.5), added("times", 0.99), added("fresh", 0.5)];
      say(
        `      added p50 ${p50.median.toFixed(2)} ms (95 %: ${p50.low.toFixed(2)}..${p50.high.toFixed(2)}), p99 ${p99.median.toFixed(2)} ms; p50 when just started ${fresh.median.toFixed(2)} ms`,
      );
      const prefix = one.name === "envoy" ? "envoyAdded" : "added";
      figures[`${prefix}P50Ms${name}`] = p50.median;
      figures[`${prefix}P99Ms${name}`] = p99.median;
      figures[`${prefix}FreshP50Ms${name}`] = fresh.median;
      const share = one.perSecond[name].map(
        (value, round) => value / (direct?.perSecond[name][round] ?? NaN),
      );
      figures[`${one.name}ThroughputRatio${name}`] = medianInterval(share, draw).median;
    }
  }
  for (const name of direct && ours && theirs ? names : []) {
    const p99 = (one: Subject | undefined): number[] =>
      one?.times[name].map((times) => quantile(times, 0.99)) ?? [];
    const times = { direct: p99(direct), ours: p99(ours), theirs: p99(theirs) };
    const { ratio, theirsMs, noiseMs, whole } = addedRatio(times, draw);
    say(
      `${name.padEnd(5)} p99 through the gateway over that through Envoy ${whole.median.toFixed(2)} (95 %: ${whole.low.toFixed(2)}..${whole.high.toFixed(2)})`,
    );
    figures[`wholeP99VsEnvoy${name}`] = whole.median;
    if (ratio !== undefined) figures[`addedP99VsEnvoy${name}`] = ratio;
    else
      notRun.push(
        `addedP99VsEnvoy${name}: Envoy adds ${theirsMs.toFixed(2)} ms, and direct rounds differ by ${noiseMs.toFixed(2)} ms`,
      );
  }
  return { figures, rows, notRun };
}

/**
 * The cost of a gateway on the way, beside Envoy as a plain proxy before the same servers: once all of them have served some
 * ten thousand requests, and when they have just started.
 *
 * `addedP99VsEnvoy` is the gateway's added p99 over Envoy's. It is left out unless Envoy's is above the interquartile range of the
 * server's own p99 between rounds: a quotient of differences says nothing if its divisor is near zero or below. `wholeP99VsEnvoy`, p99
 * through the gateway over p99 through Envoy, is always given.
 */
export const bench: Bench = {
  name: "gateway",
  about:
    "what a gateway before two servers adds, beside Envoy; one request at a time, and 8 for the throughput",
  bars: { addedP50Ms1k: { atMost: 0.5 }, addedP50Ms600k: { atMost: 1 } },
  run,
};
