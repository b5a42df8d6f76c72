import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { untilKnown } from "@longshore/testkit/until-known";
import {
  float32Tensor,
  float32View,
  type Inputs,
  type Offloader,
  openOffloader,
  type OpenOptions,
  type Policy,
  type Result,
} from "longshore";
import { denseModel, waist } from "../dense-models.ts";
import { type RunningPeer, type ServedModel, startTriton } from "../servers/index.ts";
import { legsOf, longshore, runsAt } from "./asking.ts";
import { asked, inFolder, type Open, type Part, type PartContext } from "./part.ts";

const inputSize = 4096;

/** The fields of a profile that are read here. */
interface Profiled {
  readonly variants: readonly {
    readonly buckets: readonly {
      readonly cuts: readonly {
        readonly cut: {
          readonly id: string;
          readonly crossing: readonly { readonly name: string; readonly shape: readonly number[] }[];
        };
        readonly headMemoryBytes: number;
      }[];
    }[];
  }[];
}

interface Made {
  readonly repository: string;
  /** The cut between head and tail, its one tensor, and what memory head and whole take. */
  readonly cut: string;
  readonly crossing: string;
  readonly memoryBytes: { readonly head: number; readonly whole: number };
  readonly models: readonly ServedModel[];
}

/** A model of this device, measured on it, and the tail of it that a server is given. */
async function make(folder: string): Promise<Made> {
  const repository = join(folder, "repository");
  const version = join(repository, "narrow", "1");
  await mkdir(version, { recursive: true });
  const whole = denseModel({ input: { name: "x", shape: [1, inputSize] }, output: "y", seed: 1 });
  await writeFile(join(version, "model.onnx"), whole);
  await longshore("profile", join(repository, "narrow"), "--runs", "5", "--write");
  const profile = JSON.parse(await readFile(join(version, "profile.json"), "utf8")) as Profiled;
  const cuts = profile.variants[0]?.buckets[0]?.cuts ?? [];
  const found = cuts.find(
    ({ cut: { id, crossing } }) => /^c\d+$/.test(id) && crossing[0]?.shape.at(-1) === waist,
  );
  if (!found) throw new Error(`no cut at ${waist} numbers among ${cuts.map(({ cut }) => cut.id).join()}`);
  const crossing = found.cut.crossing[0]?.name ?? "";
  // On a busy machine a few runs do not show how much longer the tail takes than the head.
  const wholeMs = 1000;
  for (const [at, cut] of cuts.entries()) {
    const headMs = at === 0 ? 0 : at <= cuts.indexOf(found) ? 1 : wholeMs;
    Object.assign(cut, { headMs: [headMs], tailMs: [wholeMs - headMs] });
  }
  await writeFile(join(version, "profile.json"), JSON.stringify(profile));
  const parts = join(folder, "parts");
  await longshore("split", join(repository, "narrow"), "--cut", found.cut.id, "--out", parts);
  const port = (name: string, shape: readonly number[]) => ({ name, datatype: "FP32" as const, shape });
  return {
    repository,
    cut: found.cut.id,
    crossing,
    memoryBytes: { head: found.headMemoryBytes, whole: cuts.at(-1)?.headMemoryBytes ?? 0 },
    models: [
      {
        name: "narrow-tail",
        file: join(parts, "tail.onnx"),
        input: port(crossing, [1, waist]),
        output: port("y", [1, 16]),
        batch: 1,
      },
    ],
  };
}

/** Lets leave this device what reveals no more than `most`. */
function upTo(most: "features" | "nothing"): Policy {
  return {
    decide: ({ zone, reveals }) =>
      zone === "device" || reveals === "answer" || (most === "features" && reveals === "features")
        ? { allow: true }
        : { allow: false, rule: `what reveals the ${reveals} stays here` },
  };
}

function same(one: Result, other: Result, output: string): boolean {
  const [own, theirs] = [one, other].map(({ outputs }) => outputs.get(output));
  if (!own || !theirs) return false;
  const expected = float32View(theirs);
  return float32View(own).every((value, index) => Math.abs(value - (expected[index] ?? NaN)) < 1e-4);
}

async function check(context: PartContext, folder: string, open: Open[]): Promise<void> {
  const told = (name: string, good: boolean, detail: string): void =>
    context.told({ name, outcome: good ? "passed" : "failed", detail });
  const made = await make(folder);
  const tritonFolder = join(folder, "triton");
  await mkdir(tritonFolder);
  const spread = { copies: 1, threads: 1 };
  const triton: RunningPeer = await startTriton({
    models: made.models,
    cores: [0, 1],
    spread,
    folder: tritonFolder,
  });
  open.push(triton);
  const x = Float32Array.from({ length: inputSize }, (_, index) => Math.sin(index));
  const numbers: Inputs = { x: float32Tensor("x", [1, inputSize], x) };
  const serves = [{ segment: { model: "narrow", from: made.cut, to: "end" }, as: "narrow-tail" }];
  const offloader = async (change: Partial<OpenOptions>, listed = true): Promise<Offloader> => {
    const server = {
      address: `http://${triton.http}`,
      id: "triton",
      kind: "oip",
      trust: "operated",
      metrics: "none",
      serves,
    } as const;
    const opened = await openOffloader({
      repository: made.repository,
      ...(listed ? { servers: [server] } : {}),
      // A run here is expensive, so that a part elsewhere is worth its way.
      device: { activeWatts: 100 },
      defaults: { dataClass: "internal", objective: "energy" },
      ...change,
    });
    open.push(opened);
    if (listed) await untilKnown(opened, "narrow", numbers, ["triton"]);
    return opened;
  };
  const alone = await offloader({}, false);
  const whole = await alone.infer("narrow", numbers);
  const between = Math.round((made.memoryBytes.head + made.memoryBytes.whole) / 2);
  for (const [name, change] of [
    ["a tail that Triton was given runs there where the input may not leave", { policy: upTo("features") }],
    [
      "a tail that Triton was given runs there where the whole has no room here",
      {
        device: { memoryBytes: () => between },
        defaults: { dataClass: "internal", objective: "latency" },
      } satisfies Partial<OpenOptions>,
    ],
  ] as const) {
    if (!asked(context, name)) continue;
    const before = await runsAt(triton.http, "narrow-tail");
    const opened = await offloader(change);
    let result = await opened.infer("narrow", numbers);
    // If a busy machine makes Triton late, this device is quicker.
    for (let round = 0; result.where !== "triton" && round < 20; round++)
      result = await opened.infer("narrow", numbers);
    const runs = (await runsAt(triton.http, "narrow-tail", before + 1)) - before;
    const small = result.sentBytes < inputSize;
    const good = result.where === "triton" && runs > 0 && small && same(result, whole, "y");
    told(name, good, `${legsOf(result)}; ${result.sentBytes} bytes sent, ${runs} runs there`);
  }
  const kept = "nothing runs there where features may not leave either";
  if (asked(context, kept)) {
    const before = await runsAt(triton.http, "narrow-tail");
    const result = await (await offloader({ policy: upTo("nothing") })).infer("narrow", numbers);
    const runs = (await runsAt(triton.http, "narrow-tail")) - before;
    told(kept, result.where !== "triton" && runs === 0 && same(result, whole, "y"), legsOf(result));
  }
}

/** A real Triton that was given the exported tail of a model of ours. */
export const partsOfModelsPart: Part = {
  name: "parts-of-models",
  run: (context) => inFolder("parts", (folder, open) => check(context, folder, open)),
};
