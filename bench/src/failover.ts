import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningPeer, startGateway, startOwn } from "@longshore/conformance";
import { float32Tensor, goldenFile, goldenText, seededRandom, tensorsOf } from "@longshore/core";
import { poissonArrivals } from "@longshore/lab";
import { openOffloader } from "longshore";
import { type Answered, type Ask, follow, ownClient, rawClient } from "./failover/clients.ts";
import { faults, jumpingClock, lie, type Victim } from "./failover/faults.ts";
import { meddler } from "./failover/meddler.ts";
import { added, type Steps, totals } from "./failover/sequences.ts";
import { smallDisk } from "./failover/small-disk.ts";
import { sharesOf } from "./failover/share.ts";
import { type Bench, type BenchContext, type Measured, quantile, type Row } from "./harness.ts";
import { meanOfRow, runningTotal, runningTotalConfig } from "./load/models.ts";

/** Requests a second of each client, and the times of a run in milliseconds. */
const perSecond = 40;
const beforeMs = 2000;
const faultMs = 4000;
const afterMs = 2000;
/** Requests that come so soon after a fault find out about it. */
const recoveryMs = 1000;

/** Share of requests that gateways and client library also run at a second server. */
const checkRatio = 0.05;
/** Sequences of the client library that go on through each fault. */
const sequencesAtOnce = 4;
const serverCount = 3;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** One client through one fault. */
async function through(ask: Ask, fault: () => () => void, seed: number): Promise<readonly Answered[]> {
  const lengthMs = beforeMs + faultMs + afterMs;
  const arrivals = poissonArrivals(perSecond, Math.ceil((perSecond * lengthMs) / 500), seed);
  const startedMs = performance.now();
  const under: Promise<Answered>[] = [];
  let undo: (() => void) | undefined;
  const faulty = setTimeout(() => (undo = fault()), beforeMs);
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
  /** Wrong values of the place that lies, until it was found out. */
  believed: number;
  errors: number;
}

/** One golden input of the model, as the command writes it. */
function golden(repository: string): void {
  const x = float32Tensor("x", [1, 4], Float32Array.of(1, 2, 3, 6));
  const pair = {
    name: "1",
    inputs: tensorsOf(x),
    outputs: tensorsOf(float32Tensor("y", [1, 1], Float32Array.of(3))),
  };
  writeFileSync(
    join(repository, "mean", "1", goldenFile),
    goldenText({ dataClass: "public", pairs: [pair] }),
  );
}

async function run(context: BenchContext): Promise<Measured> {
  const { say, seed } = context;
  const disk = smallDisk();
  const quarantinesMs: number[] = [];
  const steps: Steps[] = [];
  const folder = mkdtempSync(join(tmpdir(), "longshore-bench-failover-"));
  const opened: RunningPeer[] = [];
  const victims: Victim[] = [];
  const rows: Row[] = [];
  const counts: Counts = { lost: 0, wrong: 0, believed: 0, errors: 0 };
  const random = seededRandom(seed);
  const late: number[] = [];
  const recover: number[] = [];
  try {
    const repository = join(folder, "models");
    mkdirSync(join(repository, "mean", "1"), { recursive: true });
    writeFileSync(join(repository, "mean", "1", "model.onnx"), meanOfRow());
    mkdirSync(join(repository, "total", "1"), { recursive: true });
    writeFileSync(join(repository, "total", "1", "model.onnx"), runningTotal());
    writeFileSync(join(repository, "total", "model.yaml"), runningTotalConfig);
    golden(repository);
    // Logs are on a small disk, and clocks can be moved: whatever happens, happens to the server that is used most just then.
    const env = { NODE_OPTIONS: `--import=${jumpingClock}` };
    for (let index = 0; index < serverCount; index++) {
      const logged = disk
        ? { args: ["--log-level", "verbose"], errorsTo: join(disk.folder, `log-${index}`) }
        : { args: ["--log-level", "none"] };
      const server = await startOwn({ repository, env, ...logged });
      opened.push(server);
      if (!server.pid) throw new Error("a server has no process");
      victims.push({ pid: server.pid, before: await meddler(server.http), disk: disk?.folder });
    }
    const servedBy = opened.map(({ http }) => http);
    const servers = victims.map(({ before }) => before.address);
    const gateways: string[] = [];
    for (let index = 0; index < 2; index++) {
      const args = ["--golden", repository, "--check-ratio", String(checkRatio)];
      const gateway = await startGateway({ servers, args });
      gateways.push(gateway.http);
      opened.push(gateway);
    }
    using raw = rawClient(gateways);
    const offloader = await openOffloader({
      servers: servers.map((one) => `http://${one}`),
      checks: { sampleRatio: checkRatio },
      observer: {
        record: (event) => void (event.kind === "place-quarantined" && quarantinesMs.push(performance.now())),
      },
    });
    const clients: readonly (readonly [string, Ask])[] = [
      ["raw, two gateways", raw],
      ["offloader", ownClient(offloader)],
    ];
    for (const [, ask] of clients) for (let warm = 0; warm < 60; warm++) await follow(ask, 1, 0);
    for (const [name, fault] of Object.entries(faults)) {
      // Both clients live through the same fault.
      const startSeed = Math.floor(random.next() * 1e6);
      const beganMs = performance.now();
      let over = false;
      const sequences = Array.from({ length: sequencesAtOnce }, (_, index) =>
        totals(offloader, startSeed + index, () => over),
      );
      let undo: (() => void) | undefined;
      let began = false;
      /** As measured just before. */
      let shares: readonly number[] = [];
      let victimRatio = 0;
      const once = (): (() => void) => {
        if (!began) {
          victimRatio = Math.max(0, ...shares);
          const victim = victims[shares.indexOf(victimRatio)] ?? victims[0];
          undo = victim && fault(victim);
        }
        began = true;
        return () => {
          undo?.();
          undo = undefined;
        };
      };
      const measured = sharesOf(servedBy, beforeMs - 300).then((told) => void (shares = told));
      const results = await Promise.all(
        clients.map(([, ask], index) => through(ask, once, startSeed + 7919 * index)),
      );
      await measured;
      over = true;
      const stepped = (await Promise.all(sequences)).reduce(added);
      steps.push(stepped);
      const distorted = victims.reduce((total, { before }) => total + before.distorted, 0);
      say(`${name.padEnd(22)} before it the victim ran ${(100 * victimRatio).toFixed(0)} % of the requests`);
      rows.push({ fault: name, client: "sequences", ...stepped, distorted });
      const foundMs = quarantinesMs.find((atMs) => atMs > beganMs);
      say(
        `${name.padEnd(22)} ${"sequences".padEnd(18)} ${String(stepped.right).padStart(4)} right steps: ${stepped.lost} lost, ${stepped.wrong} wrong, ${stepped.doubled} doubled, ${stepped.errors} errors${stepped.why ? ` (${stepped.why.slice(0, 140)})` : ""}${foundMs === undefined ? "" : `; found out after ${Math.round(foundMs - beganMs - beforeMs)} ms, ${distorted} of its answers were wrong (to checks and golden inputs, too)`}`,
      );
      for (const [index, [client]] of clients.entries()) {
        const all = results[index] ?? [];
        const calm = all.filter(({ atMs }) => atMs < 0).map(({ tookMs }) => tookMs);
        const during = all.filter(({ atMs }) => atMs >= 0 && atMs < faultMs);
        const soon = during.filter(({ atMs }) => atMs < recoveryMs).map(({ tookMs }) => tookMs);
        const count = (outcome: Answered["outcome"]): number =>
          all.filter((one) => one.outcome === outcome).length;
        counts.lost += count("lost");
        if (name === lie) counts.believed += count("wrong");
        else counts.wrong += count("wrong");
        counts.errors += count("error");
        const worst = Math.max(...during.map(({ tookMs }) => tookMs));
        late.push(worst - quantile(calm, 0.5));
        if (name.startsWith("kill")) recover.push(quantile(soon, 0.99));
        const [example] = all.filter(({ outcome }) => outcome !== "right");
        rows.push({
          fault: name,
          client,
          requests: all.length,
          victimRatio,
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
    await Promise.all(victims.map(({ before }) => before[Symbol.asyncDispose]()));
    rmSync(folder, { recursive: true, force: true });
    disk?.[Symbol.dispose]();
  }
  const sequences = steps.reduce(added);
  return {
    figures: {
      lost: counts.lost + counts.errors + sequences.lost + sequences.errors,
      wrong: counts.wrong + counts.believed + sequences.wrong,
      wrongBesidesLies: counts.wrong,
      doubled: sequences.doubled,
      recoverP99Ms: Math.max(...recover),
      worstLatenessMs: Math.max(...late),
    },
    rows,
    notRun: disk ? [] : ["full disk: this user may not mount a small one"],
  };
}

/** What faults of one of three servers do to those who ask. */
export const bench: Bench = {
  name: "failover",
  about:
    "the most used of three servers fails in nine ways under load: raw clients behind two gateways, and the client library, with sequences",
  bars: {
    lost: { atMost: 0 },
    wrong: { atMost: 0 },
    doubled: { atMost: 0 },
    recoverP99Ms: { atMost: 1000 },
    worstLatenessMs: { atMost: 200 },
  },
  run,
};
