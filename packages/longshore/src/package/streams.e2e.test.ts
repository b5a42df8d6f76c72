import { beforeAll, expect, it, vi } from "vitest";
import {
  float32Tensor,
  float32View,
  type FrameResult,
  type Inputs,
  type Observer,
  type Offloader,
  type Policy,
  seededRandom,
  silentObserver,
  type StreamLimits,
  type Tensor,
} from "@longshore/core";
import { constantTrace, linkProxy, type LinkProxy } from "@longshore/lab";
import { installedSamples } from "../engine/samples.ts";
import { openModel } from "../engine/open-model.ts";
import { openOffloader } from "../compose/open-offloader.ts";
import { type RunningServer, serve } from "../compose/serve.ts";
import { gateway } from "../compose/forwarding.ts";

/** Windows of readings that differ, 524 kB each; the head to c3 leaves 33 kB of them. */
const random = seededRandom(1);
const frames: readonly Inputs[] = [0.05, 0.1, 0.4, 0.6].map((size) => ({
  readings: float32Tensor(
    "readings",
    [1, 32, 4096],
    Float32Array.from({ length: 32 * 4096 }, () => size * (random.next() - 0.5)),
  ),
}));
const limits = { dataClass: "public", minAgreementRatio: 1 } as const;
/** Readings stay on the device; the output of a head need not. */
const inputStays: Policy = {
  ignoresEndpoint: true,
  decide: ({ zone, reveals }) =>
    zone === "device" || reveals !== "input"
      ? { allow: true }
      : { allow: false, rule: "the input stays on the device" },
};
/** Frames that a stream may take until its plans have changed, on a busy machine. */
const mostFrames = 2000;

let repository: string;
let scores: readonly number[];
const scoreIn = (outputs: ReadonlyMap<string, Tensor>): number =>
  float32View(outputs.get("score") as Tensor)[0] ?? NaN;

const origin = async (id: string): Promise<RunningServer> =>
  serve({ store: (await openModel(repository)).store, port: 0, id });

const linkTo = ({ address }: { readonly address: string }): Promise<LinkProxy> =>
  linkProxy({
    target: { port: Number(new URL(address).port) },
    up: constantTrace(50e6),
    down: constantTrace(100e6),
    delayMs: 1,
  });

/** A device that is several times slower than the server, and has the model. */
const device = (link: LinkProxy, observer: Observer = silentObserver): Promise<Offloader> =>
  openOffloader({
    repository,
    runtime: "wasm",
    policy: inputStays,
    servers: [`http://127.0.0.1:${link.port}`],
    observer,
  });

/** Where the parts of an answered frame ran. */
function parts(one: FrameResult): readonly string[] {
  if (one.kind !== "answered") return [];
  return one.result.accounts.map(
    ({ endpoint, segment: { from, to } }) => `${from}..${to} ${endpoint === "device" ? "here" : "there"}`,
  );
}
const isSplit = (one: FrameResult): boolean =>
  parts(one).some((part) => part.startsWith("start..c") && part.endsWith("here")) &&
  parts(one).some((part) => part.endsWith("..end there"));
/** Whether only this device was planned for it. */
const isPlannedHere = (one: FrameResult): boolean =>
  one.kind === "answered" &&
  one.result.plans.every(({ legs }) =>
    legs.every(({ endpoint, starts }) => endpoint === "device" || starts.every(({ on }) => on === "failed")),
  );

/** A stream whose source never ends, with what it gave. */
class Player {
  readonly #results: AsyncIterator<FrameResult>;
  given = 0;
  taken = 0;
  ended = false;

  constructor(offloader: Offloader, more: StreamLimits = {}) {
    const results = offloader.stream("anomaly", this.#frames(), { ...limits, ...more });
    this.#results = results[Symbol.asyncIterator]();
  }

  async *#frames(): AsyncGenerator<Inputs> {
    try {
      for (;;) yield frames[this.given++ % frames.length]!;
    } finally {
      this.ended = true;
    }
  }

  /** The next result, which is that of the next frame, and right where it is an answer. */
  async next(): Promise<FrameResult> {
    const { value, done } = await this.#results.next();
    if (done === true) throw new Error("a stream without end has ended");
    expect(value.frame).toBe(this.taken);
    this.taken += value.kind === "dropped" ? value.count : 1;
    if (value.kind === "answered")
      expect(scoreIn(value.result.outputs)).toBeCloseTo(scores[value.frame % frames.length]!, 3);
    return value;
  }

  async until(wanted: (one: FrameResult) => boolean): Promise<FrameResult> {
    for (let passed = 0; passed < mostFrames; passed++) {
      const one = await this.next();
      if (wanted(one)) return one;
    }
    throw new Error(`not one of ${mostFrames} frames went the way that was waited for`);
  }

  async stop(): Promise<void> {
    await this.#results.return?.();
  }
}

beforeAll(async () => {
  repository = (await installedSamples())!;
  await using whole = await openOffloader({ repository });
  const alone: number[] = [];
  for (const frame of frames) alone.push(scoreIn((await whole.infer("anomaly", frame, limits)).outputs));
  scores = alone;
  expect(new Set(scores.map((score) => score.toFixed(2))).size).toBe(frames.length);
});

it("frames of a stream are split over device and server, and come back right and in their order", async () => {
  const server = await origin("split");
  await using link = await linkTo(server);
  await using app = await device(link);
  const player = new Player(app);
  await player.until(isSplit);
  for (let count = 0; count < 12; count++) await player.next();
  expect(link.carriedBytes.up).toBeGreaterThan(32_768);
  await player.stop();
  await server.close(0);
});

it("plans change with the link: frames stay here while nothing passes, and are split again when it does", async () => {
  const server = await origin("stalls");
  await using link = await linkTo(server);
  await using app = await device(link);
  const player = new Player(app);
  await player.until(isSplit);
  link.cut();
  const alone = await player.until(isPlannedHere);
  expect(parts(alone).every((part) => part.endsWith("here"))).toBe(true);
  link.restore();
  await player.until(isSplit);
  await player.stop();
  await server.close(0);
});

it("a server that dies in the middle of a stream costs no frame: its frames run here", async () => {
  const server = await origin("dies");
  await using link = await linkTo(server);
  await using app = await device(link);
  const player = new Player(app);
  await player.until(isSplit);
  link.cut({ reset: true });
  await server.close(0);
  const seen: FrameResult[] = [];
  for (let count = 0; count < 16; count++) seen.push(await player.next());
  expect(seen.map(({ kind }) => kind)).toEqual(seen.map(() => "answered"));
  expect(parts(seen.at(-1)!).every((part) => part.endsWith("here"))).toBe(true);
  await player.stop();
});

it("if nothing runs here, frames fail with the server's error, and the stream goes on", async () => {
  const server = await origin("only");
  await using link = await linkTo(server);
  await using app = await openOffloader({ servers: [`http://127.0.0.1:${link.port}`] });
  const player = new Player(app);
  const first = await player.next();
  expect(parts(first)).toEqual(["start..end there"]);
  link.cut({ reset: true });
  await server.close(0);
  const lost = await player.until(({ kind }) => kind === "failed");
  expect(lost).toMatchObject({ error: { name: "LongshoreError" } });
  if (lost.kind === "failed")
    expect(["unreachable", "no-answer", "no-endpoint"]).toContain(lost.error.reason);
  expect((await player.next()).kind).toBe("failed");
  await player.stop();
  expect(player.ended).toBe(true);
});

it("the newest frame is kept if they come faster than they are answered, and dropped ones are reported", async () => {
  const server = await origin("latest");
  await using link = await linkTo(server);
  await using app = await device(link);
  const many = Array.from({ length: 40 }, (_, index) => frames[index % frames.length]!);
  const kinds: string[] = [];
  let next = 0;
  for await (const one of app.stream("anomaly", many, { ...limits, keep: "latest", maxInFlight: 1 })) {
    expect(one.frame).toBe(next);
    next += one.kind === "dropped" ? one.count : 1;
    kinds.push(one.kind === "dropped" ? one.why : one.kind);
    if (one.kind === "answered")
      expect(scoreIn(one.result.outputs)).toBeCloseTo(scores[one.frame % frames.length]!, 3);
  }
  expect(next).toBe(many.length);
  expect(kinds).toContain("newer");
  expect(kinds.at(-1)).toBe("answered");
  expect(new Set(kinds)).toEqual(new Set(["newer", "answered"]));
  await server.close(0);
});

it("a stream that is left in the middle ends its source and everything that was under way, here and there", async () => {
  const server = await origin("left");
  await using link = await linkTo(server);
  let underWay = 0;
  const app = await device(link, {
    record({ kind }) {
      underWay += kind === "leg-started" ? 1 : kind === "leg-ended" ? -1 : 0;
    },
  });
  const player = new Player(app);
  await player.until(isSplit);
  // Frames are under way at any moment: the window is always full.
  expect(underWay).toBeGreaterThan(0);
  await player.stop();
  expect(player.ended).toBe(true);
  expect(underWay).toBe(0);
  const { given } = player;
  // The same offloader goes on, and hears nothing more of the stream.
  const { outputs } = await app.infer("anomaly", frames[0]!, limits);
  expect(scoreIn(outputs)).toBeCloseTo(scores[0]!, 3);
  expect(player.given).toBe(given);
  await app.close();
  // With nothing left there, a server that may take its time to finish does not need it.
  await server.close(60_000);
  await vi.waitFor(() => expect(link.connections).toBe(0), { timeout: 60_000 });
});

it("frames are split over device, gateway and server, and survive the server's end if there is another one", async () => {
  const [one, two] = await Promise.all([origin("one"), origin("two")]);
  const gate = await gateway({
    port: 0,
    dataClass: "internal",
    servers: [one, two].map(({ address }) => ({ address })),
  });
  await using link = await linkTo(gate);
  await using app = await device(link);
  const player = new Player(app);
  await player.until(isSplit);
  await one.close(0);
  for (let count = 0; count < 8; count++) expect((await player.next()).kind).toBe("answered");
  await player.until(isSplit);
  await player.stop();
  await gate.close(0);
  await two.close(0);
});
