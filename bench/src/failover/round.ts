import { poissonArrivals } from "@longshore/lab";
import { loadMeter } from "@longshore/nodejs";
import { type BenchContext, quantile, type Row } from "../harness.ts";
import { type Answered, type Ask, follow } from "./clients.ts";
import type { Crew } from "./crew.ts";
import { type Fault, faults, gatewayFaults, gatewayKill, kill, lie } from "./faults.ts";
import { added, type Steps, totals } from "./sequences.ts";
import { sharesOf } from "./share.ts";

/** Requests a second of each client, and the times of a run in milliseconds. */
const perSecond = 40;
const beforeMs = 2000;
const faultMs = 4000;
const afterMs = 2000;
/** Requests that come so soon after a fault find out about it. */
const recoveryMs = 1000;
/** The waiting times of the latest request are printed if it took this long, in milliseconds. */
const toldMs = 150;

/** Sequences of the client library that go on through each fault. */
const sequencesAtOnce = 4;
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

/** One fault, and whether each answer is to be one that two servers gave. */
export interface Round {
  readonly name: string;
  readonly confirm: boolean;
}

/** The counts of some rounds. */
export interface Counts {
  lost: number;
  wrong: number;
  /** Wrong values that were believed without confirmation. */
  wrongUnconfirmed: number;
  doubled: number;
  /** When the last of them was given, after the endpoint began to lie. */
  lastWrongMs: number;
  readonly lateMs: number[];
  readonly recoverMs: number[];
}

/** Nothing yet. */
export function noCounts(): Counts {
  return {
    lost: 0,
    wrong: 0,
    wrongUnconfirmed: 0,
    doubled: 0,
    lastWrongMs: 0,
    lateMs: [],
    recoverMs: [],
  };
}

/** All clients, through one fault of the server or gateway that was used most just before. */
export async function roundOf(
  { clients, offloader, victims, quarantinesMs, timelines, checks }: Crew,
  { name, confirm }: Round,
  seed: number,
  counts: Counts,
  say: BenchContext["say"],
): Promise<readonly Row[]> {
  const fault: Fault = faults[name] ?? gatewayFaults[name] ?? (() => () => undefined);
  const beganMs = performance.now();
  const checkedBefore = await checks();
  let over = false;
  const sequences = Array.from({ length: sequencesAtOnce }, (_, index) =>
    totals(offloader, seed + index, () => over),
  );
  let undo: (() => void) | undefined;
  let began = false;
  const busy = { beforeRatio: NaN, duringRatio: NaN };
  using processors = loadMeter();
  let shares: readonly number[] = [];
  let victimRatio = 0;
  let address = "";
  const once = (): (() => void) => {
    if (!began) {
      victimRatio = Math.max(0, ...shares);
      const victim = victims[shares.indexOf(victimRatio)] ?? victims[0];
      busy.beforeRatio = processors.read().busyRatio ?? NaN;
      for (const [, of] of timelines) of.begin();
      undo = victim && fault(victim);
      address = victim?.before.address ?? "";
    }
    began = true;
    return () => {
      if (undo) busy.duringRatio = processors.read().busyRatio ?? NaN;
      undo?.();
      undo = undefined;
    };
  };
  const measured = sharesOf(victims, beforeMs - 300).then((told) => void (shares = told));
  const results = await Promise.all(clients.map(([, ask], index) => through(ask, once, seed + 7919 * index)));
  await measured;
  over = true;
  const stepped: Steps = (await Promise.all(sequences)).reduce(added);
  const distorted = victims.reduce((total, { before }) => total + before.distorted, 0);
  const checked = await checks();
  const golden = checked.golden - checkedBefore.golden;
  const compared = checked.compared - checkedBefore.compared;
  const foundMs = quarantinesMs.find((atMs) => atMs > beganMs + beforeMs);
  const doubted = name === lie && !confirm;
  counts.lost += stepped.lost + stepped.errors;
  counts.doubled += stepped.doubled;
  counts[doubted ? "wrongUnconfirmed" : "wrong"] += stepped.wrong;
  say(
    `${name}${confirm ? ", confirmed" : ""}: before it the victim got ${(100 * victimRatio).toFixed(0)} % of the requests, and the processors were at work for ${(100 * busy.beforeRatio).toFixed(0)} % of the time, ${(100 * busy.duringRatio).toFixed(0)} % with it`,
  );
  if (name === lie) {
    const found = foundMs === undefined ? "never" : `after ${Math.round(foundMs - beganMs - beforeMs)} ms`;
    say(
      `  the library found out ${found}; ${golden} golden inputs and ${compared} comparisons of all three, ${distorted} answers were made wrong so far`,
    );
  }
  say(
    `  ${"sequences".padEnd(29)} ${String(stepped.right).padStart(4)} right steps: ${stepped.lost} lost, ${stepped.wrong} wrong, ${stepped.doubled} doubled, ${stepped.errors} errors${stepped.why ? ` (${stepped.why.slice(0, 140)})` : ""}`,
  );
  const rows: Row[] = [
    {
      fault: name,
      client: "sequences",
      confirm,
      ...stepped,
      victimRatio,
      busyBeforeRatio: busy.beforeRatio,
      busyDuringRatio: busy.duringRatio,
      distorted,
      golden,
      compared,
      foundMs: foundMs === undefined ? null : foundMs - beganMs - beforeMs,
    },
  ];
  for (const [index, [client]] of clients.entries()) {
    const all = results[index] ?? [];
    const calm = all.filter(({ atMs }) => atMs < 0).map(({ tookMs }) => tookMs);
    const during = all.filter(({ atMs }) => atMs >= 0 && atMs < faultMs);
    const soon = during.filter(({ atMs }) => atMs < recoveryMs).map(({ tookMs }) => tookMs);
    const count = (outcome: Answered["outcome"]): number =>
      all.filter((one) => one.outcome === outcome).length;
    const [lost, wrong, errors] = [count("lost"), count("wrong"), count("error")];
    counts.lost += lost + errors;
    counts[doubted ? "wrongUnconfirmed" : "wrong"] += wrong;
    const ends = all.filter(({ outcome }) => outcome === "wrong").map(({ atMs, tookMs }) => atMs + tookMs);
    if (doubted) counts.lastWrongMs = Math.max(counts.lastWrongMs, ...ends);
    const worst = Math.max(...during.map(({ tookMs }) => tookMs));
    counts.lateMs.push(worst - quantile(calm, 0.5));
    if (name === kill || name === gatewayKill) counts.recoverMs.push(quantile(soon, 0.99));
    const [example] = all.filter(({ outcome }) => outcome !== "right");
    rows.push({
      fault: name,
      client,
      confirm,
      requests: all.length,
      victimRatio,
      lost,
      wrong,
      errors,
      calmP50Ms: quantile(calm, 0.5),
      soonP99Ms: quantile(soon, 0.99),
      worstMs: worst,
    });
    say(
      `  ${client.padEnd(29)} ${String(all.length).padStart(4)} requests: ${lost} lost, ${wrong} wrong, ${errors} errors; p50 before ${quantile(calm, 0.5).toFixed(1)} ms, p99 in the first second ${quantile(soon, 0.99).toFixed(0)} ms, worst ${worst.toFixed(0)} ms${example ? ` (${example.why.slice(0, 140)})` : ""}`,
    );
  }
  for (const [client, of] of timelines) {
    const told = of.latest();
    if (!told || told.tookMs < toldMs) continue;
    const lines =
      address === "" ? told.lines : told.lines.map((line) => line.replaceAll(address, "THE FAULT"));
    rows.push({ fault: name, client, confirm, latestMs: told.tookMs, waitedFor: lines.join("; ") });
    say(`  the latest of ${client} took ${Math.round(told.tookMs)} ms:`);
    for (const line of lines) say(`    ${line}`);
  }
  return rows;
}
