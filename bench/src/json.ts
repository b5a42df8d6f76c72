import { defaultWireLimits, readInferRequest, seededRandom } from "@longshore/core";
import { type Bench, type BenchContext, type Measured, median, medianInterval, type Row } from "./harness.ts";

/** An image as a client writes it: how its values came to be text. */
interface Subject {
  readonly name: string;
  readonly size: number;
  readonly write: (value: number) => string;
  /** Requests in one measurement, so that each takes long against the clock's steps. */
  readonly perBlock: number;
}

/** FP32 widened to FP64 and written with all its digits, as Python's `tolist` and JavaScript do; and rounded by the sender. */
const full = (value: number): string => String(Math.fround(value));
const short = (value: number): string => String(Number(value.toFixed(6)));

const subjects: readonly Subject[] = [
  { name: "224 full", size: 224, write: full, perBlock: 8 },
  { name: "224 short", size: 224, write: short, perBlock: 8 },
  { name: "640 full", size: 640, write: full, perBlock: 1 },
  { name: "640 short", size: 640, write: short, perBlock: 1 },
];

const rounds = 11;
const warmUpRounds = 2;

/** Bodies of this bench exceed the default on purpose: a third of a frame of video is no small message as text. */
const limits = { ...defaultWireLimits, maxJsonBytes: 2 ** 26, maxBodyBytes: 2 ** 26 };

function bodyOf({ size, write }: Subject, seed: number): Uint8Array {
  const random = seededRandom(seed);
  const words = Array.from({ length: 3 * size * size }, () => write(random.next() * 4.9 - 2.1));
  const text = `{"inputs":[{"name":"x","shape":[1,3,${size},${size}],"datatype":"FP32","data":[${words.join(",")}]}]}`;
  return new TextEncoder().encode(text);
}

/** The lean way of who parses with JSON.parse and still checks what came: text, arrays of numbers, tensor. */
function byJsonParse(body: Uint8Array): Float32Array {
  const message = JSON.parse(new TextDecoder().decode(body)) as {
    readonly inputs: readonly [{ readonly shape: readonly number[]; readonly data: readonly unknown[] }];
  };
  const [{ shape, data }] = message.inputs;
  const count = shape.reduce((product, length) => product * length, 1);
  if (data.length !== count) throw new Error("the data does not fit its shape");
  const tensor = new Float32Array(count);
  for (let index = 0; index < count; index++) {
    const value = data[index];
    if (typeof value !== "number" || !Number.isFinite(Math.fround(value))) throw new Error("not a number");
    tensor[index] = value;
  }
  return tensor;
}

function byArrayText(body: Uint8Array): Float32Array {
  const [input] = readInferRequest(body, undefined, limits).inputs;
  if (!input) throw new Error("no input");
  return new Float32Array(
    input.bytes.buffer as ArrayBuffer,
    input.bytes.byteOffset,
    input.bytes.byteLength / 4,
  );
}

/** Milliseconds of processor time, this thread's and its helpers' (the garbage collector's among them), per call. */
function cpuMs(run: () => unknown, times: number): number {
  const before = process.cpuUsage();
  for (let time = 0; time < times; time++) run();
  const { user, system } = process.cpuUsage(before);
  return (user + system) / 1000 / times;
}

function measure(subject: Subject, context: BenchContext): Measured {
  const body = bodyOf(subject, context.seed);
  const expected = new Uint32Array(byJsonParse(body).buffer);
  const came = byArrayText(body);
  const bits = new Uint32Array(came.buffer, came.byteOffset, came.length);
  if (!expected.every((value, index) => value === bits[index])) throw new Error("the values differ");
  const rows: Row[] = [];
  const parse: number[] = [];
  const text: number[] = [];
  for (let round = -warmUpRounds; round < rounds; round++) {
    // Forth and back, so that drift of the machine hits both alike.
    const order = [byJsonParse, byArrayText, byArrayText, byJsonParse];
    const sums = new Map<unknown, number>();
    for (const way of order) {
      sums.set(way, (sums.get(way) ?? 0) + cpuMs(() => way(body), subject.perBlock) / 2);
    }
    if (round < 0) continue;
    parse.push(sums.get(byJsonParse) ?? NaN);
    text.push(sums.get(byArrayText) ?? NaN);
    rows.push({ subject: subject.name, round, parseMs: parse.at(-1) ?? NaN, textMs: text.at(-1) ?? NaN });
  }
  const draw = seededRandom(context.seed);
  const ratios = text.map((ms, round) => ms / (parse[round] ?? NaN));
  const { median: ratio, low, high } = medianInterval(ratios, () => draw.next());
  const [width, form = ""] = subject.name.split(" ");
  context.say(
    `  ${subject.name.padEnd(10)} ${(body.byteLength / 1e6).toFixed(2)} MB: JSON.parse ${median(parse).toFixed(2)} ms, here ${median(text).toFixed(2)} ms of CPU, ratio ${ratio.toFixed(3)} (95 %: ${low.toFixed(3)}..${high.toFixed(3)})`,
  );
  return { figures: { [`ratio${width}${form[0]?.toUpperCase() ?? ""}${form.slice(1)}`]: ratio }, rows };
}

/** What an image that comes as JSON text costs before it is a tensor. */
export const bench: Bench = {
  name: "json",
  about:
    "CPU time from the body of a request with a JSON image tensor, 1x3xSxS FP32, to the tensor: JSON.parse and the reader here",
  bars: { imageJsonCpuRatio: { atMost: 0.5 } },
  async run(context): Promise<Measured> {
    const figures: Record<string, number> = {};
    const rows: Row[] = [];
    for (const subject of subjects) {
      const measured = measure(subject, context);
      Object.assign(figures, measured.figures);
      rows.push(...measured.rows);
    }
    // The worst of them is the figure.
    figures["imageJsonCpuRatio"] = Math.max(...Object.values(figures));
    return { figures, rows };
  },
};
