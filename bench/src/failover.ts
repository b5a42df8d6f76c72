import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningPeer, startGateway, startOwn } from "@longshore/conformance";
import { seededRandom } from "@longshore/core";
import { poissonArrivals } from "@longshore/lab";
import { openOffloader } from "longshore";
import { type Answered, type Ask, follow, ownClient, rawClient } from "./failover/clients.ts";
import { meddler, type Meddler } from "./failover/meddler.ts";
import { type Bench, type BenchContext, type Measured, quantile, type Row } from "./harness.ts";
import { meanOfRow } from "./load/models.ts";

/** Requests a second of each client, and the times of a run in milliseconds. */
const perSecond = 40;
const beforeMs = 2000;
const faultMs = 4000;
const afterMs = 2000;
/** Requests that come so soon after a fault find out about it. */
const recoveryMs = 1000;

/** The server that something happens to, and what stands before it. */
interface Victim {
  readonly pid: number;
  readonly before: Meddler;
}

/** Makes something go wrong; what it gives back makes it right again. */
type Fault = (victim: Victim) => () => void;

function stopped(pid: number): () => void {
  process.kill(pid, "SIGSTOP");
  return () => process.kill(pid, "SIGCONT");
}

/** Runs a tenth of the time. */
function slowed(pid: number): () => void {
  let on = true;
  const turn = (): void => {
    on = !on;
    process.kill(pid, on ? "SIGCONT" : "SIGSTOP");
    timer = setTimeout(turn, on ? 5 : 45);
  };
  let timer = setTimeout(turn, 0);
  return () => {
    clearTimeout(timer);
    process.kill(pid, "SIGCONT");
  };
}

function meddled(mode: Meddler["mode"]): Fault {
  return ({ before }) => {
    before.mode = mode;
    return () => void (before.mode = "pass");
  };
}

const faults: Readonly<Record<string, Fault>> = {
  hang: ({ pid }) => stopped(pid),
  "slow (10x)": ({ pid }) => slowed(pid),
  "half-open": meddled("silent"),
  "link cut": meddled("reset"),
  "wrong shape": meddled("wrong shape"),
  // The last one: nobody starts the server again.
  "kill -9, then refused": ({ pid }) => {
    process.kill(pid, "SIGKILL");
    return () => undefined;
  },
};

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One client through one fault. */
async function through(ask: Ask, fault: Fault, victim: Victim, seed: number): Promise<readonly Answered[]> {
  const lengthMs = beforeMs + faultMs + afterMs;
  const arrivals = poissonArrivals(perSecond, Math.ceil((perSecond * lengthMs) / 500), seed);
  const startedMs = performance.now();
  const under: Promise<Answered>[] = [];
  let undo: (() => void) | undefined;
  const faulty = setTimeout(() => (undo = fault(victim)), beforeMs);
  const mended = setTimeout(() => undo?.(), beforeMs + faultMs);
  for (const [index, atMs] of arrivals.entries()) {
    if (atMs > lengthMs) break;
    await pause(Math.max(0, startedMs + atMs - performance.now()));
    under.push(follow(ask, 1 + seed + index, performance.now() - startedMs - beforeMs));
  }
  const answered = await Promise.all(under);
  clearTimeout(faulty);
  clearTimeout(mended);
  return answered;
}

interface Counts {
  lost: number;
  wrong: number;
  errors: number;
}

async function run(context: BenchContext): Promise<Measured> {
  const { say, seed } = context;
  const folder = mkdtempSync(join(tmpdir(), "longshore-bench-failover-"));
  const opened: RunningPeer[] = [];
  const rows: Row[] = [];
  const counts: Counts = { lost: 0, wrong: 0, errors: 0 };
  const random = seededRandom(seed);
  const late: number[] = [];
  const recover: number[] = [];
  try {
    const repository = join(folder, "models");
    mkdirSync(join(repository, "mean", "1"), { recursive: true });
    writeFileSync(join(repository, "mean", "1", "model.onnx"), meanOfRow());
    for (let index = 0; index < 3; index++)
      opened.push(await startOwn({ repository, args: ["--log-level", "none"] }));
    const [first, ...others] = opened;
    if (!first?.pid) throw new Error("the first server has no process");
    await using before = await meddler(first.http);
    const servers = [before.address, ...others.map(({ http }) => http)];
    for (let index = 0; index < 2; index++) {
      const gateway = await startGateway({ servers });
      others.push(gateway);
      opened.push(gateway);
    }
    const gateways = others.slice(-2).map(({ http }) => http);
    const victim: Victim = { pid: first.pid, before };
    using raw = rawClient(gateways);
    const offloader = await openOffloader({ servers: servers.map((one) => `http://${one}`) });
    const clients: readonly (readonly [string, Ask])[] = [
      ["raw, two gateways", raw],
      ["offloader", ownClient(offloader)],
    ];
    for (const [, ask] of clients) for (let warm = 0; warm < 60; warm++) await follow(ask, 1, 0);
    for (const [name, fault] of Object.entries(faults)) {
      // Both clients live through the same fault.
      const startSeed = Math.floor(random.next() * 1e6);
      let undo: (() => void) | undefined;
      let began = false;
      const once: Fault = (one) => {
        if (!began) undo = fault(one);
        began = true;
        return () => {
          undo?.();
          undo = undefined;
        };
      };
      const results = await Promise.all(
        clients.map(([, ask], index) => through(ask, once, victim, startSeed + 7919 * index)),
      );
      for (const [index, [client]] of clients.entries()) {
        const all = results[index] ?? [];
        const calm = all.filter(({ atMs }) => atMs < 0).map(({ tookMs }) => tookMs);
        const during = all.filter(({ atMs }) => atMs >= 0 && atMs < faultMs);
        const soon = during.filter(({ atMs }) => atMs < recoveryMs).map(({ tookMs }) => tookMs);
        const count = (outcome: Answered["outcome"]): number =>
          all.filter((one) => one.outcome === outcome).length;
        counts.lost += count("lost");
        counts.wrong += count("wrong");
        counts.errors += count("error");
        const worst = Math.max(...during.map(({ tookMs }) => tookMs));
        late.push(worst - quantile(calm, 0.5));
        if (name.startsWith("kill")) recover.push(quantile(soon, 0.99));
        const [example] = all.filter(({ outcome }) => outcome !== "right");
        rows.push({
          fault: name,
          client,
          requests: all.length,
          lost: count("lost"),
          wrong: count("wrong"),
          errors: count("error"),
          calmP50Ms: quantile(calm, 0.5),
          soonP99Ms: quantile(soon, 0.99),
          worstMs: worst,
        });
        say(
          `${name.padEnd(22)} ${client.padEnd(18)} ${String(all.length).padStart(4)} requests: ${count("lost")} lost, ${count("wrong")} wrong, ${count("error")} errors; p50 before ${quantile(calm, 0.5).toFixed(1)} ms, p99 in the first second ${quantile(soon, 0.99).toFixed(0)} ms, worst ${worst.toFixed(0)} ms${example ? ` (${example.why.slice(0, 140)})` : ""}`,
        );
      }
    }
    await offloader.close();
  } finally {
    await Promise.all(opened.map((one) => one.close()));
    rmSync(folder, { recursive: true, force: true });
  }
  return {
    figures: {
      lost: counts.lost + counts.errors,
      wrong: counts.wrong,
      recoverP99Ms: Math.max(...recover),
      worstLatenessMs: Math.max(...late),
    },
    rows,
    notRun: [
      "answers that are wrong and plausible, clock jumps, full disks: nothing looks for them yet",
      "doubled: steps of sequences are not among the requests",
    ],
  };
}

/** What faults of one of three servers do to those who ask. */
export const bench: Bench = {
  name: "failover",
  about:
    "one of three servers fails in six ways under load: raw clients behind two gateways, and the client library",
  bars: {
    lost: { atMost: 0 },
    wrong: { atMost: 0 },
    recoverP99Ms: { atMost: 1000 },
    worstLatenessMs: { atMost: 200 },
  },
  run,
};
