/** `bench stream`: frames a second over this process and a server in another, against the better of the two alone. */
import { execFileSync } from "node:child_process";
import { copyFileSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import {
  type FrameResult,
  housekeepingCall,
  type Inputs,
  type Offloader,
  type Policy,
  startCut,
  tablePolicy,
} from "@longshore/core";
import { folderStore } from "@longshore/nodejs";
import { sampleInputs, sampleRepository } from "@longshore/samples";
import { openOffloader } from "longshore";
import { openEngine, sampleTensors } from "longshore/measure";
import {
  type Bench,
  type BenchContext,
  chosenOf,
  mean,
  type Measured,
  median,
  quantile,
  type Row,
} from "./harness.ts";
import { measurePublished } from "./measure-samples.ts";
import { type SoakServer, startServer } from "./soak/server.ts";

/** A model that is streamed, and what its frames are. */
interface Subject {
  readonly name: string;
  readonly repository: string;
  readonly frames: readonly Inputs[];
  readonly policy: Policy;
}

const subjectNames = ["resnet50", "ocr-frame"] as const;

type Way = "device" | "server" | "both";

const ways: readonly Way[] = ["device", "server", "both"];
/** So often each way has its turn. */
const turns: Readonly<Record<string, number>> = { resnet50: 8, "ocr-frame": 3 };
/** What of a turn is not counted: so many frames, and so long. */
interface Beginning {
  readonly frames: number;
  readonly ms: number;
}
/**
 * In the first turn one endpoint loads its model; two load the parts of those splits that are tried as well, and learn link, endpoints and
 * speeds.
 */
const cold: Readonly<Record<Way, Beginning>> = {
  device: { frames: 4, ms: 1500 },
  server: { frames: 4, ms: 1500 },
  both: { frames: 16, ms: 8000 },
};
/** In those after it frames begin to overlap again. */
const warm: Beginning = { frames: 8, ms: 800 };
const countedMs = 2500;
const fewestFrames = 8;

/** Anything may go anywhere: images that a model calls internal, too. */
const open = tablePolicy({ public: { leastTrust: "none" }, internal: { leastTrust: "none" } });
/** What was read from the input may go anywhere, the input itself stays on the device: every plan is here first. */
const inputStays: Policy = {
  ignoresEndpoint: true,
  decide: ({ zone, reveals }) =>
    zone === "device" || reveals !== "input"
      ? { allow: true }
      : { allow: false, rule: "the input stays on the device" },
};

/** Frames without end, which stand still while they are shut. */
class Tap {
  open = false;
  given = 0;
  #opened = (): void => undefined;

  async *frames(frames: readonly Inputs[]): AsyncGenerator<Inputs> {
    for (;;) {
      for (const frame of frames) {
        while (!this.open) await new Promise<void>((resolve) => (this.#opened = resolve));
        this.given++;
        yield frame;
      }
    }
  }

  set(open: boolean): void {
    this.open = open;
    if (open) this.#opened();
  }
}

/** What became of the frames of a turn, and how much of its core each endpoint used meanwhile. */
interface Played {
  readonly fps: number;
  readonly results: readonly FrameResult[];
  readonly deviceBusyRatio: number;
  readonly serverBusyRatio: number;
  /** Milliseconds of a core that a frame took both together. */
  readonly frameCoreMs: number;
}

/** One stream, which goes on in its turns and has nothing under way between them. */
interface Player {
  turn(beginning: Beginning): Promise<Played>;
  close(): Promise<void>;
}

function player(offloader: Offloader, server: SoakServer, { name, frames }: Subject): Player {
  const tap = new Tap();
  const line = offloader.stream(name, tap.frames(frames))[Symbol.asyncIterator]();
  let taken = 0;
  const next = async (): Promise<FrameResult> => {
    const { done, value } = await line.next();
    if (done === true) throw new Error("a stream without end has ended");
    taken++;
    return value;
  };
  return {
    async turn({ frames: fewest, ms }) {
      tap.set(true);
      const beganMs = performance.now();
      for (let passed = 0; passed < fewest || performance.now() - beganMs < ms; passed++) {
        const one = await next();
        if (one.kind === "failed") throw one.error;
      }
      const { processorMs: thereMs } = await server.sample();
      const used = process.cpuUsage();
      const sinceMs = performance.now();
      const results: FrameResult[] = [];
      let tookMs = 0;
      while (tookMs < countedMs || results.length < fewestFrames) {
        results.push(await next());
        tookMs = performance.now() - sinceMs;
      }
      const { user, system } = process.cpuUsage(used);
      const hereMs = (user + system) / 1000;
      const awayMs = (await server.sample()).processorMs - thereMs;
      tap.set(false);
      while (taken < tap.given) await next();
      return {
        fps: (1000 * results.length) / tookMs,
        results,
        deviceBusyRatio: hereMs / tookMs,
        serverBusyRatio: awayMs / tookMs,
        frameCoreMs: (hereMs + awayMs) / results.length,
      };
    },
    async close() {
      await line.return?.();
      await offloader.close();
    },
  };
}

/** How often each kind of plan answered. */
function plansOf(results: readonly FrameResult[]): Record<"here" | "there" | "split", number> {
  const counts = { here: 0, there: 0, split: 0 };
  for (const one of results) {
    if (one.kind !== "answered") continue;
    const accounts = one.result.accounts;
    const remote = one.result.plans.at(0)?.legs.find((leg) => leg.id === "remote");
    if (accounts.length > 1) counts.split++;
    else if (remote && accounts[0]?.endpoint === remote.endpoint) counts.there++;
    else counts.here++;
  }
  return counts;
}

/** How many frames went on elsewhere from each cut, as `c99 12, c147 30`. */
function cutsOf(results: readonly FrameResult[]): string {
  const counts = new Map<string, number>();
  for (const one of results) {
    const segment = one.kind === "answered" ? one.result.accounts.at(-1)?.segment : undefined;
    if (segment && segment.from !== startCut) counts.set(segment.from, (counts.get(segment.from) ?? 0) + 1);
  }
  return Array.from(counts, ([cut, count]) => `${cut} ${count}`).join(", ");
}

const percent = (ratio: number): string => `${(100 * ratio).toFixed(0)} %`;

/** Whether each endpoint can have a core of its own; this process then has the first. */
function pinned(): boolean {
  try {
    execFileSync("taskset", ["-acp", "0", String(process.pid)], { stdio: "ignore" });
    return true;
  } catch {
    return false;
  }
}

async function measure(subject: Subject, ownCores: boolean, { say }: BenchContext): Promise<readonly Row[]> {
  // It has to begin on its core: it would count two, and run two at once.
  const server = await startServer(subject.repository, {}, [], ownCores ? 1 : undefined);
  const defaults = { dataClass: "public", minAgreementRatio: 0.99 };
  const about = {
    address: server.address,
    id: "server",
    tier: "edge",
    zone: "eu/edge",
    trust: "operated",
  } as const;
  const rows: Row[] = [];
  const players = new Map<Way, Player>();
  try {
    for (const way of ways) {
      const offloader = await openOffloader({
        ...(way === "server" ? {} : { repository: subject.repository }),
        servers: way === "device" ? [] : [about],
        policy: way === "server" ? open : subject.policy,
        defaults,
      });
      players.set(way, player(offloader, server, subject));
    }
    for (let turn = 0; turn < (turns[subject.name] ?? 1); turn++) {
      for (const way of turn % 2 === 0 ? ways : ways.toReversed()) {
        const played = await players.get(way)?.turn(turn === 0 ? cold[way] : warm);
        if (!played) continue;
        const { results, ...figures } = played;
        const unanswered = results.filter(({ kind }) => kind !== "answered").length;
        const plans = plansOf(results);
        const tookMs = results.flatMap((one) => (one.kind === "answered" ? [one.result.tookMs] : []));
        rows.push({
          model: subject.name,
          way,
          turn,
          ownCores,
          ...figures,
          frames: results.length,
          unanswered,
          ...plans,
          cuts: cutsOf(results),
          p50Ms: median(tookMs),
          p95Ms: quantile(tookMs, 0.95),
        });
        say(
          `  ${subject.name.padEnd(10)} ${way.padEnd(7)} ${played.fps.toFixed(2).padStart(6)} frames/s; whole here ${plans.here}, whole there ${plans.there}, split ${plans.split}; cores ${percent(played.deviceBusyRatio)} and ${percent(played.serverBusyRatio)} busy, ${played.frameCoreMs.toFixed(0)} ms of them a frame; a frame takes ${median(tookMs).toFixed(0)} ms`,
        );
      }
    }
  } finally {
    await Promise.allSettled([...players.values()].map((one) => one.close()));
    await server.stop();
  }
  return rows;
}

/** The published network with seeded weights, measured here and now: its profile says where its stages balance. */
async function network(context: BenchContext, folder: string): Promise<Subject | undefined> {
  const effort = { samples: 1, rounds: 3, maxCuts: 8, everyCodec: false };
  const measured = await measurePublished(context, folder, "resnet50", effort);
  if (!measured) return undefined;
  const { simulated, inputs } = measured;
  for (const { cut, headMs, tailMs } of simulated.profile.variants[0]?.buckets[0]?.cuts ?? []) {
    context.say(`    ${cut.id}: ${mean(headMs).toFixed(0)} ms before, ${mean(tailMs).toFixed(0)} ms after`);
  }
  const frames = inputs.map((one) => Object.fromEntries(one));
  return { name: "resnet50", repository: folder, frames, policy: inputStays };
}

/** Real images through the OCR pipeline, free to go anywhere. */
async function ocr(folder: string): Promise<Subject> {
  const repository = sampleRepository();
  const { engine, close } = openEngine({ store: folderStore(repository), tier: "cloud" });
  try {
    const call = housekeepingCall("stream");
    const knowledge = await engine.describe("ocr-frame", undefined, call);
    const path = sampleInputs().find(({ file }) => file === "images/shelf-1.jpg")?.path;
    if (!knowledge || path === undefined) throw new Error("the sample ocr-frame is not there");
    const images = mkdtempSync(join(folder, "images-"));
    copyFileSync(path, join(images, basename(path)));
    const samples = await sampleTensors(engine, knowledge.description, images, call);
    const frames = samples.map((one) => Object.fromEntries(one));
    return { name: "ocr-frame", repository, frames, policy: open };
  } finally {
    await close();
  }
}

/**
 * Of each turn both over the better of the two alone, which had theirs within the same half minute: the machine's own speed
 * changes by as much as what is measured here.
 */
function speedUp(rows: readonly Row[], model: string): number {
  const own = rows.filter((row) => row["model"] === model);
  const fps = (turn: number, way: Way): number =>
    Number(own.find((row) => row["turn"] === turn && row["way"] === way)?.["fps"]);
  return median(
    Array.from({ length: turns[model] ?? 1 }, (_, turn) => {
      return fps(turn, "both") / Math.max(fps(turn, "device"), fps(turn, "server"));
    }),
  );
}

/** Two endpoints, each with one core: this process and a server in another, over sockets on this machine. */
export const bench: Bench = {
  name: "stream",
  about: "frames a second over two endpoints against the better single one, split by rule and free",
  options: ["--only MODEL,..."],
  bars: { streamSpeedUp: { atLeast: 1.4 } },
  async run(context): Promise<Measured> {
    const folder = mkdtempSync(join(tmpdir(), "longshore-stream-"));
    const only = chosenOf(context.args, "only", subjectNames) ?? subjectNames;
    const ownCores = pinned();
    if (!ownCores) context.say("  taskset is not here: the two endpoints share the cores of this machine");
    try {
      const subjects = [
        only.includes("resnet50") ? await network(context, folder) : undefined,
        only.includes("ocr-frame") ? await ocr(folder) : undefined,
      ];
      const rows: Row[] = [];
      for (const subject of subjects) if (subject) rows.push(...(await measure(subject, ownCores, context)));
      const has = (name: string): boolean => rows.some((row) => row["model"] === name);
      return {
        figures: {
          ...(has("resnet50") ? { streamSpeedUp: speedUp(rows, "resnet50") } : {}),
          ...(has("ocr-frame") ? { freeStreamSpeedUp: speedUp(rows, "ocr-frame") } : {}),
          unansweredFrames: rows.reduce((sum, row) => sum + Number(row["unanswered"]), 0),
        },
        rows,
        notRun: context.data === undefined ? ["split by rule: no --data folder"] : [],
      };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  },
};
