/**
 * `bench failover --part overload`: more load than a server can do. At two and ten times the possible load: how many right answers come in time, how soon are others refused, and what does a light tenant notice of a heavy one?
 *
 * - A small convolutional network (18 to 22 ms per run), one instance, one thread. Open loop, Poisson arrivals, bodies of 150,528 bytes.
 * - Good is a right answer within 120 ms of the planned arrival. Goodput is relative to the best phase in the same round.
 * - `refusalMs` is the p99 from the first byte sent to the whole reply.
 * - `expiredRefusalMs`: requests with 2 ms left, at a server that is just busy.
 * - Burst: ten seconds of five times the peak; recovered when 95 % of a second are good.
 * - Tenants: a light one at 0.4 of the peak, alone and beside one with ten times as much. `leastTenantP99Ratio` is the bound if it were always
 *   served first.
 */
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import ort from "onnxruntime-node";
import { seededRandom } from "@longshore/core";
import { type Bench, type BenchContext, chosenOf, type Measured, type Row, saidMedian } from "./harness.ts";
import { type Generator, startBare, startGenerator, startServe } from "./load/drive.ts";
import { smallConvolution } from "./load/models.ts";
import { goodput, peakOf } from "./overload/goodput.ts";
import { expired, recovery, tenants } from "./overload/parts.ts";
import { measurePeers } from "./overload/peers.ts";
import {
  asksUs,
  capacity,
  deadlineMs,
  type OverloadSubject,
  roundsOf,
  rowShape,
  tensorBytes,
  told,
} from "./overload/phase.ts";

/** The parts that can run alone. */
const parts = ["goodput", "expired", "burst", "tenants", "triton", "mlserver"] as const;
type Part = (typeof parts)[number];

/** `--only PART,PART...`, and `--no-peers`; default all. */
function wantedParts(args: readonly string[]): ReadonlySet<string> {
  const only = chosenOf(args, "only", parts) ?? parts;
  const peers: readonly Part[] = args.includes("--no-peers") ? ["triton", "mlserver"] : [];
  return new Set(only.filter((name) => !peers.includes(name)));
}

/** The right answer: the outputs of the network for the input that all send, as the runtime gives them. */
async function rightAnswer(model: Uint8Array): Promise<string> {
  const session = await ort.InferenceSession.create(model, { intraOpNumThreads: 1, interOpNumThreads: 1 });
  const { y } = await session.run({
    x: new ort.Tensor("float32", new Float32Array(tensorBytes / 4), rowShape),
  });
  const data = y?.data as Float32Array;
  return Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString("base64");
}

async function measure(
  subject: OverloadSubject,
  bare: OverloadSubject,
  wanted: ReadonlySet<string>,
  context: BenchContext,
): Promise<Measured> {
  const { say, seed, args } = context;
  const rows: Row[] = [];
  const note = (row: Row): void => {
    rows.push(row);
    say(told(row));
  };
  const rounds = roundsOf(args);
  const ramp = await capacity(subject);
  say(`  at most about ${ramp.toFixed(0)} right answers a second in a ramp of loads`);
  const figures: Record<string, number> = {};
  const random = seededRandom(seed);
  const figure = (name: string, values: readonly number[]): void => {
    figures[name] = saidMedian({ say, figure: name, draw: () => random.next() }, values);
  };
  let peak: number;
  if (wanted.has("goodput")) {
    const measured = await goodput(subject, bare, ramp, context, note);
    Object.assign(figures, measured.figures);
    ({ peak } = measured);
  } else peak = await peakOf(subject, ramp, seed, note);
  if (wanted.has("expired")) {
    const late: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const { p50Ms, p99Ms } = await expired(subject, peak, seed + 5000 + round, (row) => rows.push(row));
      late.push(p99Ms);
      say(
        `  requests with 2 ms left were refused after ${p50Ms.toFixed(1)} ms (p50), ${p99Ms.toFixed(1)} ms (p99)`,
      );
    }
    figure("expiredRefusalMs", late);
  }
  if (wanted.has("burst")) figures["recoverySeconds"] = await recovery(subject, peak, seed, note);
  if (wanted.has("tenants")) {
    const light: number[] = [];
    const least: number[] = [];
    for (let round = 0; round < rounds; round++) {
      const one = await tenants(subject, peak, 8, seed + 7000 + round);
      light.push(one.besideMs / one.soloMs);
      least.push(one.leastRatio);
      rows.push(one.row);
      say(one.told);
    }
    figure("lightTenantP99Ratio", light);
    figure("leastTenantP99Ratio", least);
  }
  const most = (name: string): number =>
    Math.max(
      ...rows.flatMap(({ phase, [name]: value }) =>
        typeof value === "number" && !/bare|cold/.test(String(phase)) ? [value] : [],
      ),
    );
  figures["loopMaxMs"] = most("loopMaxMs");
  figures["loopBusyMaxMs"] = most("loopBusyMaxMs");
  return { figures, rows };
}

function withPeers(ours: Measured, peers: Measured): Measured {
  return {
    figures: { ...ours.figures, ...peers.figures },
    rows: [...ours.rows, ...peers.rows],
    ...(peers.notRun ? { notRun: peers.notRun } : {}),
  };
}

/** Ours, in processes of its own. */
async function measureOurs(
  repository: string,
  generator: Generator,
  wanted: ReadonlySet<string>,
  context: BenchContext,
): Promise<Measured> {
  if (![...wanted].some((part) => part !== "triton" && part !== "mlserver")) return { figures: {}, rows: [] };
  const server = await startServe(repository);
  const bare = await startBare();
  try {
    const expected = await rightAnswer(readFileSync(join(repository, "small", "1", "model.onnx")));
    const subject: OverloadSubject = { server, generator, expected, asks: asksUs };
    return await measure(subject, { ...subject, server: bare }, wanted, context);
  } finally {
    await bare.close();
    await server.close();
  }
}

/** A server with more requests than it can serve. */
export const bench: Bench = {
  name: "overload",
  about: `longshore serve and a load generator, two processes over loopback; bodies of ${tensorBytes} bytes, answers within ${deadlineMs} ms`,
  options: ["--only PART,...", "--no-peers", "--rounds N"],
  bars: {
    goodput2x: { atLeast: 0.95 },
    goodput10x: { atLeast: 0.9 },
    refusalMs: { atMost: 5 },
    expiredRefusalMs: { atMost: 10 },
    recoverySeconds: { atMost: 30 },
    lightTenantP99Ratio: { atMost: 1.3 },
    loopBusyMaxMs: { atMost: 20 },
  },
  async run(context): Promise<Measured> {
    const repository = mkdtempSync(join(tmpdir(), "longshore-overload-"));
    const model = smallConvolution(context.seed);
    mkdirSync(join(repository, "small", "1"), { recursive: true });
    writeFileSync(join(repository, "small", "1", "model.onnx"), model);
    const wanted = wantedParts(context.args);
    const generator = await startGenerator();
    try {
      const ours = await measureOurs(repository, generator, wanted, context);
      // Ours is closed by now: it would take a core from them.
      const file = join(repository, "small", "1", "model.onnx");
      return withPeers(ours, await measurePeers(generator, file, context, wanted));
    } finally {
      generator.close();
      rmSync(repository, { recursive: true });
    }
  },
};
