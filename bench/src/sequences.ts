import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningPeer, startOwn } from "@longshore/conformance";
import { type Offloader, openOffloader } from "longshore";
import { type Bench, type BenchContext, chosenOf, type Measured, type Row } from "./harness.ts";
import { type Aftermath, type CrashRelay, crashRelay, type Moment } from "./sequences/crash-relay.ts";
import { type Judge, judgeNames, judges } from "./sequences/judges.ts";

const moments: readonly Moment[] = ["before it leaves", "after it left", "after it ran", "after the answer"];
const aftermaths: readonly Aftermath[] = ["gone", "started again", "back"];
/** What makes a sequence move without a crash: its endpoint is told to stop, the way there becomes slow, or another endpoint becomes the quicker one. */
const moves = ["drain", "mobility", "better endpoint"] as const;
type Move = (typeof moves)[number];

/** Frames before and after the one with the crash; the state of those before must be in those after. */
const before = 2;
const after = 2;
/** After a move that nothing forces, until it is worth while. */
const afterMove = 12;
/** Every so many frames one is moved at. */
const everyMove = 4;
/** Sequences at a time. */
const atOnce = 3;

interface Counts {
  frames: number;
  wrong: number;
  lost: number;
  /** Crashes or moves that were made. */
  made: number;
  /** Sequences that were at another endpoint in the end. */
  moved: number;
  why: string;
}

const noCounts = (): Counts => ({ frames: 0, wrong: 0, lost: 0, made: 0, moved: 0, why: "" });

/** What happens to a sequence over two relays at one of its frames; `there` is the one before the endpoint that has it. */
interface Happening {
  readonly name: string;
  /** Before the first frame. */
  begin?(relays: readonly CrashRelay[]): void;
  /** Before the frame leaves. `made` is told of what happens later. */
  before(there: CrashRelay, relays: readonly CrashRelay[], made: () => void): void;
  /** After its answer. */
  after?(there: CrashRelay, made: () => void): void;
}

function crashing(moment: Moment, aftermath: Aftermath): Happening {
  const crash = (there: CrashRelay, made: () => void): void => {
    made();
    there.crash(aftermath);
  };
  return {
    name: `${moment}, ${aftermath}`,
    before(there, relays, made) {
      if (moment === "before it leaves") crash(there, made);
      if (moment === "after it left" || moment === "after it ran") {
        for (const relay of relays) {
          relay.arm(moment, aftermath, () => {
            made();
            for (const one of relays) one.disarm();
          });
        }
      }
    },
    ...(moment === "after the answer" ? { after: crash } : {}),
  };
}

function moving(move: Move): Happening {
  return {
    name: move,
    begin(relays) {
      if (move === "better endpoint") for (const relay of relays) relay.slow(true);
    },
    before(there, relays, made) {
      made();
      if (move === "drain") there.drain();
      else if (move === "mobility") there.slow(true);
      else for (const relay of relays) if (relay !== there) relay.slow(false);
    },
  };
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

/** Waits until both endpoints are known, however busy this machine is: what is not known is nowhere to go to. */
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
  throw new Error(`both endpoints of ${judge.model} were not known in time`);
}

/** One sequence over two endpoints, to which something happens at frame `at`. */
async function through(
  servers: readonly string[],
  judge: Judge,
  range: { readonly from: number; readonly at: number; readonly to: number },
  happening: Happening,
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
  happening.begin?.(relays);
  await using sequence = offloader.sequence(judge.model, { dataClass: "internal", deadlineMs: 10_000 });
  const answers: (readonly number[])[] = [];
  let where = "";
  let endpointBefore = "";
  const made = (): void => void counts.made++;
  const there = (): CrashRelay => relays.find(({ address }) => where.includes(address)) ?? one;
  const note = (index: number, what: string): void => {
    counts.why ||= `${judge.model}, frame ${index} of ${happening.name} at ${range.at}: ${what}`;
  };
  for (let index = range.from; index < range.to; index++) {
    const frame = judge.frames[index];
    if (!frame) break;
    if (index === range.at) {
      endpointBefore = where;
      happening.before(there(), relays, made);
    }
    counts.frames++;
    try {
      const result = await sequence.next(frame);
      where = result.where;
      const answer = judge.read(result.outputs);
      answers.push(answer);
      const expected = right[index - range.from];
      if (!alike(answer, expected)) {
        counts.wrong++;
        note(index, `${answer[0]} instead of ${expected?.[0]}`);
        break;
      }
    } catch (thrown) {
      counts.lost++;
      note(index, thrown instanceof Error ? thrown.message : String(thrown));
      break;
    }
    if (index === range.at) happening.after?.(there(), made);
  }
  if (endpointBefore !== "" && where !== endpointBefore) counts.moved++;
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
  const all = { crashes: noCounts(), moves: noCounts() };
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
      const windows = new Map<string, readonly (readonly number[])[]>();
      /** All frames of `steps` with some before and after them, and once the whole sequence with it in the middle. */
      const judged = async (
        happening: Happening,
        steps: readonly number[],
        afterwards: number,
        kind: keyof typeof all,
      ): Promise<void> => {
        const counts = noCounts();
        await each(steps, async (at) => {
          const from = Math.max(0, at - before);
          const range = { from, at, to: Math.min(length, at + afterwards + 1) };
          const key = `${from} ${range.to}`;
          const right = windows.get(key) ?? (await meant(local, judge, from, range.to));
          windows.set(key, right);
          await through(servers, judge, range, happening, right, counts);
        });
        const middle = { from: 0, at: length >> 1, to: length };
        const heard = await through(servers, judge, middle, happening, whole, counts);
        if (judge.model === "vad") speech.add(heard.filter(([value = 0]) => value >= 0.5).length);
        rows.push({ judge: judge.model, kind, happening: happening.name, ...counts });
        say(
          `${judge.model.padEnd(7)} ${happening.name.padEnd(32)} ${String(counts.made).padStart(3)} times, ${counts.moved} went elsewhere, ${counts.frames} frames: ${counts.wrong} wrong, ${counts.lost} lost${counts.why === "" ? "" : ` (${counts.why.slice(0, 200)})`}`,
        );
        for (const key of ["frames", "wrong", "lost", "made", "moved"] as const)
          all[kind][key] += counts[key];
      };
      const steps = judge.frames.map((_, at) => at).filter((at) => at % every === 0);
      for (const moment of moments) {
        for (const aftermath of aftermaths)
          await judged(crashing(moment, aftermath), steps, after, "crashes");
      }
      const moved = judge.frames.map((_, at) => at).filter((at) => at > 0 && at % (every * everyMove) === 0);
      for (const move of moves) await judged(moving(move), moved, afterMove, "moves");
    }
  } finally {
    await Promise.all(opened.map((one) => one.close()));
    rmSync(folder, { recursive: true, force: true });
  }
  if (speech.size > 0)
    say(`speech in ${[...speech].join(" or ")} of 87 frames (54 with the right state in each, 17 without)`);
  return {
    figures: {
      wrongFrames: all.crashes.wrong + all.moves.wrong,
      lostFrames: all.crashes.lost + all.moves.lost,
      crashes: all.crashes.made,
      moves: all.moves.made,
      movedElsewhere: all.moves.moved,
      frames: all.crashes.frames + all.moves.frames,
      ...(speech.size > 0
        ? { speechFramesOff: Math.max(...[...speech].map((count) => Math.abs(count - 54))) }
        : {}),
    },
    rows,
    notRun: [
      ...(every > 1 ? [`crashes at steps between every ${every}th`] : []),
      `moves at steps between every ${every * everyMove}th`,
      ...(only ? [`judges besides ${only.join(", ")}`] : []),
    ],
  };
}

/** Whether sequences go on rightly when their endpoint crashes, whenever that is, or when there is a reason to move. */
export const bench: Bench = {
  name: "sequences",
  about:
    "a crash at every step of a sequence, before, during and after it, and moves without one, with three judges over real servers",
  options: ["--judge NAME,...", "--quick"],
  bars: { wrongFrames: { atMost: 0 }, lostFrames: { atMost: 0 }, speechFramesOff: { atMost: 0 } },
  run,
};
