import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningPeer, startOwn } from "@longshore/conformance";
import { type Offloader, openOffloader } from "longshore";
import { type Bench, type BenchContext, chosenOf, type Measured, type Row } from "./harness.ts";
import { type Aftermath, type CrashRelay, crashRelay, type Moment } from "./sequences/crash-relay.ts";
import { type Judge, judgeNames, judges } from "./sequences/judges.ts";

const moments: readonly Moment[] = ["before it leaves", "after it left", "after it ran", "after the answer"];
const aftermaths: readonly Aftermath[] = ["gone", "started anew", "back"];

/** Frames before and after the one with the crash; the state of those before must be in those after. */
const before = 2;
const after = 2;
/** Sequences at a time. */
const atOnce = 3;

interface Counts {
  frames: number;
  wrong: number;
  lost: number;
  crashes: number;
  why: string;
}

/** What a judge says of frames `from` to `to` when nothing happens: all on this machine. */
async function meant(
  local: Offloader,
  judge: Judge,
  from: number,
  to: number,
): Promise<readonly (readonly number[])[]> {
  await using sequence = local.sequence(judge.model, { dataClass: "internal" });
  const answers: (readonly number[])[] = [];
  for (const frame of judge.frames.slice(from, to))
    answers.push(judge.read((await sequence.next(frame)).outputs));
  return answers;
}

const alike = (one: readonly number[], other: readonly number[] | undefined): boolean =>
  other?.length === one.length &&
  one.every((value, at) => Math.abs(value - (other[at] ?? NaN)) <= 1e-5 * Math.max(1, Math.abs(value)));

/** Waits until both places are known, however busy this machine is: what is not known is nowhere to go to. */
async function bothKnown(offloader: Offloader, judge: Judge, relays: readonly CrashRelay[]): Promise<void> {
  const frame = judge.frames[0] ?? {};
  for (let tries = 0; tries < 200; tries++) {
    const plan = await offloader
      .explain(judge.model, frame, { dataClass: "internal" })
      .catch(() => undefined);
    const told = JSON.stringify(plan ?? {});
    if (relays.every(({ address }) => told.includes(address))) return;
    await new Promise((resolve) => setTimeout(resolve, 50));
    await offloader.refresh();
  }
  throw new Error(`both places of ${judge.model} were not known in time`);
}

/** One sequence over two places, one of which crashes at frame `at`. */
async function through(
  servers: readonly string[],
  judge: Judge,
  range: { readonly from: number; readonly at: number; readonly to: number },
  [moment, aftermath]: readonly [Moment, Aftermath],
  right: readonly (readonly number[])[],
  counts: Counts,
): Promise<readonly (readonly number[])[]> {
  const [a = "", b = "", fresh = ""] = servers;
  await using one = await crashRelay(a, fresh);
  await using other = await crashRelay(b, fresh);
  const relays = [one, other];
  await using offloader = await openOffloader({
    servers: relays.map(({ address }) => ({ address: `http://${address}`, trust: "operated" as const })),
  });
  await bothKnown(offloader, judge, relays);
  await using sequence = offloader.sequence(judge.model, { dataClass: "internal", deadlineMs: 10_000 });
  const answers: (readonly number[])[] = [];
  let where = "";
  const crashed = (): void => {
    counts.crashes++;
    for (const relay of relays) relay.disarm();
  };
  const crash = (): void => {
    const there: CrashRelay = relays.find(({ address }) => where.includes(address)) ?? one;
    crashed();
    there.crash(aftermath);
  };
  for (let index = range.from; index < range.to; index++) {
    const frame = judge.frames[index];
    if (!frame) break;
    if (index === range.at && moment === "before it leaves") crash();
    if (index === range.at && (moment === "after it left" || moment === "after it ran")) {
      for (const relay of relays) relay.arm(moment, aftermath, crashed);
    }
    counts.frames++;
    try {
      const result = await sequence.next(frame);
      where = result.where;
      const answer = judge.read(result.outputs);
      answers.push(answer);
      if (!alike(answer, right[index - range.from])) {
        counts.wrong++;
        counts.why ||= `${judge.model}, frame ${index} of a crash at ${range.at} ${moment}, ${aftermath}: ${answer[0]} instead of ${right[index - range.from]?.[0]}`;
        break;
      }
    } catch (thrown) {
      counts.lost++;
      counts.why ||= `${judge.model}, frame ${index} of a crash at ${range.at} ${moment}, ${aftermath}: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
      break;
    }
    if (index === range.at && moment === "after the answer") crash();
  }
  return answers;
}

/** Does all of some work, a few at a time. */
async function each<T>(work: readonly T[], act: (one: T) => Promise<void>): Promise<void> {
  const left = [...work];
  const worker = async (): Promise<void> => {
    for (let one = left.pop(); one !== undefined; one = left.pop()) await act(one);
  };
  await Promise.all(Array.from({ length: atOnce }, worker));
}

async function run({ say, seed, args }: BenchContext): Promise<Measured> {
  const every = args.includes("--quick") ? 8 : 1;
  const only = chosenOf(args, "judge", judgeNames);
  const folder = mkdtempSync(join(tmpdir(), "longshore-bench-sequences-"));
  const opened: RunningPeer[] = [];
  const rows: Row[] = [];
  const all: Counts = { frames: 0, wrong: 0, lost: 0, crashes: 0, why: "" };
  const speech = new Set<number>();
  try {
    const known = judges(folder, seed).filter(({ model }) => only?.includes(model) ?? true);
    for (let index = 0; index < 3; index++) {
      opened.push(await startOwn({ repository: folder, args: ["--log-level", "none"] }));
    }
    const servers = opened.map(({ http }) => http);
    await using local = await openOffloader({ repository: folder });
    for (const judge of known) {
      const length = judge.frames.length;
      const whole = await meant(local, judge, 0, length);
      const windows = new Map<number, readonly (readonly number[])[]>();
      for (let from = 0; from < length; from++) {
        windows.set(from, await meant(local, judge, from, Math.min(length, from + before + after + 1)));
      }
      for (const moment of moments) {
        for (const aftermath of aftermaths) {
          const counts: Counts = { frames: 0, wrong: 0, lost: 0, crashes: 0, why: "" };
          const steps = judge.frames.map((_, at) => at).filter((at) => at % every === 0);
          await each(steps, async (at) => {
            const from = Math.max(0, at - before);
            const range = { from, at, to: Math.min(length, at + after + 1) };
            await through(servers, judge, range, [moment, aftermath], windows.get(from) ?? [], counts);
          });
          const middle = { from: 0, at: length >> 1, to: length };
          const heard = await through(servers, judge, middle, [moment, aftermath], whole, counts);
          if (judge.model === "vad") speech.add(heard.filter(([value = 0]) => value >= 0.5).length);
          rows.push({ judge: judge.model, moment, aftermath, ...counts });
          say(
            `${judge.model.padEnd(7)} ${moment.padEnd(17)} ${aftermath.padEnd(13)} ${String(counts.crashes).padStart(3)} crashes, ${counts.frames} frames: ${counts.wrong} wrong, ${counts.lost} lost${counts.why === "" ? "" : ` (${counts.why.slice(0, 200)})`}`,
          );
          for (const key of ["frames", "wrong", "lost", "crashes"] as const) all[key] += counts[key];
        }
      }
    }
  } finally {
    await Promise.all(opened.map((one) => one.close()));
    rmSync(folder, { recursive: true, force: true });
  }
  if (speech.size > 0)
    say(`speech in ${[...speech].join(" or ")} of 87 frames (54 with the right state in each, 17 without)`);
  return {
    figures: {
      wrongFrames: all.wrong,
      lostFrames: all.lost,
      crashes: all.crashes,
      frames: all.frames,
      ...(speech.size > 0
        ? { speechFramesOff: Math.max(...[...speech].map((count) => Math.abs(count - 54))) }
        : {}),
    },
    rows,
    notRun: [
      ...(every > 1 ? [`crashes at steps between every ${every}th`] : []),
      ...(only ? [`judges besides ${only.join(", ")}`] : []),
    ],
  };
}

/** Whether sequences go on rightly when their place crashes, whenever that is. */
export const bench: Bench = {
  name: "sequences",
  about:
    "a crash at every step of a sequence, before, during and after it, with three judges over real servers",
  options: ["--judge NAME,...", "--quick"],
  bars: { wrongFrames: { atMost: 0 }, lostFrames: { atMost: 0 }, speechFramesOff: { atMost: 0 } },
  run,
};
