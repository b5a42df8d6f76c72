/**
 * `bench decide --part energy`: the energy of a device. With `objective: "energy"`, how near does the planner come to one that knows the link's future, and how often does it miss a deadline?
 *
 * - OCR from pixels (`ocr-frame`), OCR from files (`ocr`) and the anomaly detector, over LTE, 3G and Wi-Fi; 150 requests each. Recorded links with `--data`.
 * - The device has a fifth of the speed of the profiled machine and takes 2 W above idle. Radios follow Huang et al. (2012). All constants are estimates.
 * - The oracle is the better of a greedy one per request and the best single plan in hindsight.
 *
 * Planted sensors:
 *
 * `--only sensors` runs the anomaly sample for real, on sensor files in a temporary folder:
 *
 * - An energy counter (RAPL) that takes 15 W for each busy core. `measuredOverPlanted`: energy that results call `measured`, over 15 W times their run time.
 * - A default route over four kinds of interface, and a server 40 ms away over 20 Mbit/s. `interfaceOverLeast`: energy spent over the lesser of both sides.
 */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { type Radio, startCut } from "@longshore/core";
import { parseProfile, radios } from "@longshore/core/internal";
import {
  linkShapes,
  poissonArrivals,
  profiledModel,
  readMahimahi,
  type SimulatedModel,
  type SimulatedRow,
  type SimulatedWay,
  type Simulation,
  simulate,
  simulateOurs,
  simulatePlan,
  simulationOf,
  steadyArrivals,
  syntheticTrace,
  type Trace,
} from "@longshore/lab";
import { sampleRepository } from "@longshore/samples";
import { measureSensors } from "./energy-sensors.ts";
import { type Bench, chosenOf, mean, type Measured, type Row } from "./harness.ts";
import { wholeRunMs } from "./measure-samples.ts";

/** The device's core while it runs, above idle, in watts; its speed relative to the profiles' machine. */
const deviceWatts = 2;
const deviceSpeed = 0.2;
const requests = 150;
/** Exchanges that pay for a radio of their own: rarely enough that every one wakes it. */
const seldomMs = 60_000;

interface Constants {
  readonly watts: number;
  readonly radio: Radio;
}

/** Constants, and which of them is changed. */
interface Varied {
  readonly name: string;
  readonly constants: Constants;
}

interface Setting {
  readonly model: string;
  readonly radio: "lte" | "3g" | "wifi";
  readonly gapMs: number;
  readonly up: Trace;
  readonly down: Trace;
}

/** Its name for `--only`: a prefix selects several. */
const settingName = ({ model, radio, gapMs }: Setting): string => `${model}/${radio}/${gapMs}`;

/** Every constant by itself, halved and doubled, after the constants as they are. */
function variations(radio: Radio): readonly Varied[] {
  const names = [
    "upMillijoulesPerMegabit",
    "downMillijoulesPerMegabit",
    "baseWatts",
    "tailWatts",
    "tailMs",
    "promotionMillijoules",
  ] as const;
  const found = [{ name: "as they are", constants: { watts: deviceWatts, radio } }];
  for (const factor of [0.5, 2]) {
    found.push({ name: `device watts x${factor}`, constants: { watts: deviceWatts * factor, radio } });
    for (const name of names)
      found.push({
        name: `${name} x${factor}`,
        constants: { watts: deviceWatts, radio: { ...radio, [name]: radio[name] * factor } },
      });
  }
  return found;
}

function sampleModel(name: string): SimulatedModel {
  const file = join(sampleRepository(), name, "1", "profile.json");
  return profiledModel(parseProfile(JSON.parse(readFileSync(file, "utf8"))));
}

/** The name for `--only` of the real runs on planted sensors. */
const sensorsName = "sensors";

const localMs = (model: SimulatedModel): number => wholeRunMs(model) / deviceSpeed;

function settingsOf(data: string | undefined, seed: number): { settings: Setting[]; notRun: string[] } {
  const folder = data && join(data, "traces/lte-mahimahi");
  const recorded = folder !== undefined && existsSync(folder);
  const link = (name: string, shape: keyof typeof linkShapes): { up: Trace; down: Trace } => {
    if (!recorded) {
      const trace = syntheticTrace(linkShapes[shape], seed, 300_000, shape);
      return { up: trace, down: trace };
    }
    const read = (side: string): Trace =>
      readMahimahi(`${name}.${side}`, readFileSync(join(folder, `${name}.${side}`), "utf8"));
    return { up: read("up"), down: read("down") };
  };
  const lte = link("Verizon-LTE-short", "stalling");
  const drive = link("TMobile-UMTS-driving", "drive3g");
  const home = syntheticTrace(linkShapes.wifi, seed, 300_000, "wifi");
  const wifi = { up: home, down: home };
  // The samples whose packages hold a profile.
  const settings = ["ocr-frame", "anomaly", "ocr"].flatMap((model): Setting[] => {
    // As dense as the device can keep up with, so that a radio may stay up; and rarely, at random, so that it sleeps.
    const busyMs = model === "anomaly" ? 500 : 3500;
    return [
      { model, radio: "lte", gapMs: busyMs, ...lte },
      { model, radio: "lte", gapMs: 30_000, ...lte },
      { model, radio: "3g", gapMs: busyMs, ...drive },
      { model, radio: "wifi", gapMs: busyMs, ...wifi },
    ];
  });
  return {
    settings,
    notRun: recorded ? [] : ["recorded cellular links: no data folder (--data DIR); synthetic ones stand in"],
  };
}

function simulationFor(
  setting: Setting,
  model: SimulatedModel,
  seed: number,
  constants: Constants,
): Simulation {
  const simulation = simulationOf(
    {
      model: setting.model,
      seed,
      objective: "energy",
      // A radio that one of the first requests woke is up for the others.
      notCounted: 0,
      // A run here takes up to a quarter longer than its mean, and waits for one before it now and then.
      deadlineMs: 5 * localMs(model) + 2000,
      device: { watts: constants.watts, radio: setting.radio },
      endpoints: [{ id: "cloud", tier: "cloud", rtt: 50 }],
    },
    {
      model,
      deviceSpeed,
      links: () => setting,
      arrivalsMs:
        setting.gapMs < seldomMs / 2
          ? steadyArrivals(setting.gapMs, requests)
          : poissonArrivals(1000 / setting.gapMs, requests, seed),
    },
  );
  return { ...simulation, device: { ...simulation.device, radio: constants.radio } };
}

const of = (ways: readonly SimulatedWay[], kind: SimulatedWay["kind"]): SimulatedWay => {
  const found = ways.find((way) => way.kind === kind);
  if (!found) throw new Error(`no ${kind} was replayed`);
  return found;
};

/** The input as the papers send it: every value as a float of four bytes. */
function withFloatUpload(model: SimulatedModel): SimulatedModel {
  const widen = (bytes: number): number =>
    model.description.inputs[0]?.datatype === "FP32" ? bytes : 4 * bytes;
  const variants = model.profile.variants.map((variant) => ({
    ...variant,
    buckets: variant.buckets.map((bucket) => ({
      ...bucket,
      cuts: bucket.cuts.map((cut) => {
        const raw = cut.codings.find(({ codecs }) => Object.keys(codecs).length === 0);
        if (cut.cut.id !== startCut || !raw) return cut;
        const name = cut.cut.crossing[0]?.name ?? "";
        const coding = { ...raw, codecs: { [name]: "fp32" }, bytes: widen(raw.bytes) };
        return { ...cut, codings: [...cut.codings, coding] };
      }),
    })),
  }));
  return { ...model, profile: { ...model.profile, variants } };
}

const figures = (rows: readonly SimulatedRow[]): { readonly ms: number; readonly millijoules: number } => ({
  ms: mean(rows.map(({ tookMs }) => tookMs)),
  millijoules: mean(rows.map(({ millijoules }) => millijoules)),
});

/** Uploads that are compared with: the papers' floats, and the best one that a product would use. `ocr` is given JPEG files. */
const uploads: Readonly<Record<string, readonly string[]>> = {
  "ocr-frame": ["fp32", "jpeg-85"],
  anomaly: ["fp32", "fp16"],
  ocr: ["raw"],
};

/** Ours against cloud-only, one upload after the other. */
async function againstCloudOnly(
  setting: Setting,
  model: SimulatedModel,
  seed: number,
  objective: "latency" | "energy",
  constants: Constants,
): Promise<{ readonly upload: string; readonly speedUp: number; readonly energyRatio: number }[]> {
  const wide = withFloatUpload(model);
  const simulation = simulationFor(setting, wide, seed, constants);
  const { deadlineMs: _none, ...limits } = simulation.limits;
  const alone: Simulation = {
    ...simulation,
    limits: { ...limits, objective },
    // One at a time, so that an upload of many megabytes does not wait for the one before it.
    arrivalsMs: steadyArrivals(seldomMs, 60),
  };
  const ours = figures((await simulateOurs({ ...alone, model })).slice(simulation.notCounted));
  const name = model.description.inputs[0]?.name ?? "";
  const variant = model.description.variants[0]?.name ?? "";
  const found: { upload: string; speedUp: number; energyRatio: number }[] = [];
  for (const upload of uploads[setting.model] ?? []) {
    const codecs: Readonly<Record<string, string>> = upload === "raw" ? {} : { [name]: upload };
    const plan = { variant, cut: startCut, endpoint: "cloud", codecs };
    const cloud = figures((await simulatePlan(alone, plan)).slice(simulation.notCounted));
    found.push({
      upload,
      speedUp: cloud.ms / ours.ms,
      energyRatio: ours.millijoules / cloud.millijoules - 1,
    });
  }
  return found;
}

/** The same for both objectives and all constants: as they are, and the least and the most gain with one halved or doubled. */
async function cloudOnlyRows(
  setting: Setting,
  seed: number,
  wanted: readonly Varied[],
  say: (line: string) => void,
): Promise<readonly Row[]> {
  const model = sampleModel(setting.model);
  const rows: Row[] = [];
  for (const objective of ["latency", "energy"] as const) {
    const own: Row[] = [];
    for (const { name: constant, constants } of wanted) {
      for (const { upload, speedUp, energyRatio } of await againstCloudOnly(
        setting,
        model,
        seed,
        objective,
        constants,
      )) {
        const { radio } = setting;
        own.push({
          kind: "cloud-only",
          model: setting.model,
          radio,
          objective,
          constant,
          upload,
          speedUp,
          energyRatio,
        });
      }
    }
    for (const upload of uploads[setting.model] ?? []) {
      const same = own.filter((row) => row["upload"] === upload);
      const [first] = same;
      const energies = same.map((row) => 100 * Number(row["energyRatio"]));
      const speeds = same.map((row) => Number(row["speedUp"]));
      const range =
        same.length > 1
          ? ` (${Math.min(...speeds).toFixed(2)} to ${Math.max(...speeds).toFixed(2)}x, ${Math.min(...energies).toFixed(1)} to ${Math.max(...energies).toFixed(1)} %)`
          : "";
      say(
        `  ${setting.model.padEnd(10)} ${setting.radio.padEnd(5)} ${objective.padEnd(8)} against ${upload.padEnd(8)} ${Number(first?.["speedUp"]).toFixed(2)}x faster, energy ${(energies[0] ?? NaN).toFixed(1)} %${range}`,
      );
    }
    rows.push(...own);
  }
  return rows;
}

export const bench: Bench = {
  name: "energy",
  about:
    "energy of the device made small: the real planner against the oracle, every constant also halved and doubled",
  options: ["--quick", "--only MODEL/RADIO/GAP|sensors,..."],
  bars: {
    energyVsOracle: { atMost: 1.05 },
    missedRatio: { atMost: 0.01 },
    measuredOverPlanted: { atMost: 1.1 },
  },
  async run({ data, seed, args, say }): Promise<Measured> {
    const { settings: all, notRun } = settingsOf(data, seed);
    const only = chosenOf(args, "only", [...all.map(settingName), sensorsName]);
    const settings = all.filter((setting) => only?.includes(settingName(setting)) ?? true);
    const wantedConstants = ({ radio }: Setting): readonly Varied[] =>
      variations(radios[radio]).slice(0, args.includes("--quick") ? 1 : undefined);
    const rows: Row[] = [];
    const ratios: number[] = [];
    const misses: number[] = [];
    if (settings.length > 0)
      say("  estimated, after Huang et al. (2012) and a phone's core; mJ for a request, mean");
    for (const setting of settings) {
      const model = sampleModel(setting.model);
      const name = `${setting.model}, ${setting.radio}, every ${setting.gapMs} ms`;
      for (const { name: constant, constants } of wantedConstants(setting)) {
        const ways = await simulate(simulationFor(setting, model, seed, constants));
        const ours = of(ways, "longshore");
        // Greedy for one request after the other is not the least: a plan that keeps the radio up may beat it.
        const least = Math.min(of(ways, "oracle").figures.objective, of(ways, "fixed").figures.objective);
        const ratio = ours.figures.objective / least;
        const missed = ours.figures.missed / ours.figures.counted;
        ratios.push(ratio);
        misses.push(missed);
        const best = of(ways, "fixed");
        say(
          `  ${name.padEnd(34)} ${constant.padEnd(30)} ours ${ours.figures.objective.toFixed(0).padStart(6)}  oracle ${of(ways, "oracle").figures.objective.toFixed(0).padStart(6)}  best fixed ${best.figures.objective.toFixed(0).padStart(6)} (${best.plan})  ratio ${ratio.toFixed(3)}  away ${Math.round(100 * ours.figures.awayRatio)} %  missed ${(100 * missed).toFixed(1)} %`,
        );
        for (const way of ways) {
          rows.push({
            kind: "way",
            setting: name,
            constant,
            way: way.name,
            plan: way.plan ?? "",
            ...way.figures,
          });
        }
      }
    }
    if (settings.length > 0)
      say("\n  against cloud-only, a request a minute (Neurosurgeon: 3.1x and -59.5 % with fp32 uploads):");
    for (const setting of settings.filter(({ gapMs }) => gapMs < 30_000)) {
      rows.push(...(await cloudOnlyRows(setting, seed, wantedConstants(setting), say)));
    }
    const sensors = (only?.includes(sensorsName) ?? true) ? await measureSensors(say) : undefined;
    rows.push(...(sensors?.rows ?? []));
    const simulated =
      settings.length === 0
        ? {}
        : {
            energyVsOracle: Math.max(...ratios),
            averageEnergyVsOracle: mean(ratios),
            missedRatio: Math.max(...misses),
          };
    return {
      figures: { ...simulated, ...sensors?.figures },
      rows,
      notRun,
    };
  },
};
