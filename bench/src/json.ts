import { seededRandom } from "@longshore/core";
import {
  type Bench,
  type BenchContext,
  chosenOf,
  type Measured,
  median,
  medianInterval,
  numberOf,
  type Row,
} from "./harness.ts";
import { type Ask, imageModels, type ImageServer, startImageServer } from "./json/through-server.ts";
import { asBinary, bodyOf, byArrayText, byJsonParse, images, type JsonImage } from "./json/ways.ts";

const warmUpRounds = 2;

/** Milliseconds of processor time, this thread's and its helpers' (the garbage collector's among them), per call. */
function cpuMs(run: () => unknown, times: number): number {
  const before = process.cpuUsage();
  for (let time = 0; time < times; time++) run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / times;
}

/** The times of one round of a comparison, each way the mean of its blocks. */
interface Round {
  readonly parseMs: number;
  readonly textMs: number;
}

/** Says a comparison and gives the median of its ratio. */
function told(context: BenchContext, name: string, rounds: readonly Round[], rest = ""): number {
  const draw = seededRandom(context.seed);
  const ratios = rounds.map(({ parseMs, textMs }) => textMs / parseMs);
  const { median: ratio, low, high } = medianInterval(ratios, () => draw.next());
  const ms = (of: (round: Round) => number): string => median(rounds.map(of)).toFixed(2);
  context.say(
    `  ${name}: JSON.parse ${ms(({ parseMs }) => parseMs)} ms, here ${ms(({ textMs }) => textMs)} ms of CPU, ratio ${ratio.toFixed(3)} (95 %: ${low.toFixed(3)}..${high.toFixed(3)})${rest}`,
  );
  return ratio;
}

/** The readers alone. */
function ofReaders(image: JsonImage, body: Uint8Array, rounds: number): readonly Round[] {
  const measured: Round[] = [];
  const time = (way: (body: Uint8Array) => unknown): number => cpuMs(() => way(body), image.perBlock);
  for (let round = -warmUpRounds; round < rounds; round++) {
    // Forth and back, so that drift of the machine hits both alike.
    const [first, second, third, fourth] = [byJsonParse, byArrayText, byArrayText, byJsonParse].map(time);
    if (round < 0) continue;
    measured.push({
      parseMs: ((first ?? NaN) + (fourth ?? NaN)) / 2,
      textMs: ((second ?? NaN) + (third ?? NaN)) / 2,
    });
  }
  return measured;
}

/** Whole requests: two servers that differ in how they read JSON, and what the same requests take them in binary. */
async function ofServers(
  image: JsonImage,
  ask: Ask,
  binary: Ask,
  [parse, text]: readonly [ImageServer, ImageServer],
  rounds: number,
): Promise<{ readonly rounds: readonly Round[]; readonly binaryMs: number }> {
  const measured: Round[] = [];
  const inBinary: number[] = [];
  for (let round = -warmUpRounds; round < rounds; round++) {
    const first = await parse.cpuMs(ask, image.perBlock);
    const second = await text.cpuMs(ask, image.perBlock);
    const third = await text.cpuMs(ask, image.perBlock);
    const fourth = await parse.cpuMs(ask, image.perBlock);
    const without = await text.cpuMs(binary, image.perBlock);
    const answers = new Set([first, second, third, fourth, without].map(({ answer }) => answer));
    if (answers.size > 1) throw new Error("the servers answer differently");
    if (round < 0) continue;
    measured.push({ parseMs: (first.ms + fourth.ms) / 2, textMs: (second.ms + third.ms) / 2 });
    inBinary.push(without.ms);
  }
  return { rounds: measured, binaryMs: median(inBinary) };
}

async function run(context: BenchContext): Promise<Measured> {
  const names = images.map(({ name }) => name);
  const chosen = chosenOf(context.args, "image", names) ?? names;
  const rounds = numberOf(context.args, "rounds", 11);
  const figures: Record<string, number> = {};
  const rows: Row[] = [];
  using models = imageModels();
  const servers = [
    await startImageServer(models.folder, "parse"),
    await startImageServer(models.folder, "text"),
  ] as const;
  try {
    for (const image of images.filter(({ name }) => chosen.includes(name))) {
      const body = bodyOf(image, context.seed);
      const expected = byJsonParse(body);
      const bits = new Uint32Array(expected.values.buffer);
      const came = byArrayText(body).values;
      const theirs = new Uint32Array(came.buffer, came.byteOffset, came.length);
      if (!bits.every((value, index) => value === theirs[index])) throw new Error("the values differ");
      context.say(`${image.name}, ${(body.byteLength / 1e6).toFixed(2)} MB of text`);
      const readers = ofReaders(image, body, rounds);
      figures[`reader${image.name}`] = told(context, "reader alone", readers);
      const { headerBytes, parts } = asBinary(expected);
      const through = await ofServers(
        image,
        { headers: { "content-type": "application/json" }, body },
        {
          headers: { "inference-header-content-length": `${headerBytes}` },
          body: Buffer.concat(parts),
        },
        servers,
        rounds,
      );
      const beside = `; the same in binary ${through.binaryMs.toFixed(2)} ms`;
      figures[`server${image.name}`] = told(context, "whole request", through.rounds, beside);
      for (const [what, all] of [
        ["reader", readers],
        ["server", through.rounds],
      ] as const) {
        for (const [round, one] of all.entries()) rows.push({ image: image.name, what, round, ...one });
      }
    }
  } finally {
    for (const server of servers) await server.close();
  }
  // The worst of the whole requests is the figure.
  const whole = Object.entries(figures).filter(([name]) => name.startsWith("server"));
  figures["imageJsonCpuRatio"] = Math.max(...whole.map(([, ratio]) => ratio));
  return { figures, rows };
}

/** The cost of an image that comes as JSON text. */
export const bench: Bench = {
  name: "json",
  about:
    "CPU time of a request with a JSON image tensor, 1x3xSxS FP32, where JSON.parse reads it and here: the reader alone, and the whole request through a server",
  options: ["--image NAME,...", "--rounds N"],
  bars: { imageJsonCpuRatio: { atMost: 0.5 } },
  run,
};
