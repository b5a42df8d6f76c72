/** `bench belief`: what a link is believed to do against what it did, on every recorded network in the data folder. */
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { linkModel } from "@longshore/core";
import { readCsv, type Trace, traceOf } from "@longshore/lab";
import { decideTraces } from "./decide-traces.ts";
import type { Bench, Row } from "./harness.ts";
import { drawnTimes, onTheBeat, promises } from "./promises.ts";

/** Recorded 5G networks, each with the columns that its header does not tell. */
const fifthGeneration = [
  { file: "5g-ucc/static_B_2020.02.14_13.21.26.csv" },
  { file: "5g-ucc/driving_B_2020.01.16_09.56.56.csv" },
  { file: "5g-5gophers/walking-trace.csv" },
  ...["Sprint", "TMobile", "Verizon"].map((carrier) => ({
    file: "5g-5gophers/car-driving-trace-1.csv",
    columns: { rate: `${carrier}_throughput_mbps`, bitsPerSecondPerUnit: 1e6 },
  })),
];

function fastTraces(data: string | undefined): readonly Trace[] {
  if (!data) return [];
  return fifthGeneration.flatMap(({ file, ...more }) => {
    const path = join(data, "traces", file);
    if (!existsSync(path)) return [];
    const text = readFileSync(path, "utf8");
    if (!("columns" in more)) return traceOf(`${file} as uplink`, text);
    return readCsv(`${file} ${more.columns.rate} as uplink`, text, more.columns);
  });
}

export const bench: Bench = {
  name: "belief",
  about:
    "promised transfer times against what they took, beside smoothed rates of the same and of ideal sight",
  bars: {
    worstPinballVsSmoothed: { atMost: 1 },
    worstPinballVsShown: { atMost: 1 },
    worstPinballVsSmoothedOnTheBeat: { atMost: 1 },
    worstPinballVsShownOnTheBeat: { atMost: 1 },
    p95Coverage: { atLeast: 0.92, atMost: 0.98 },
    p50Coverage: { atLeast: 0.47, atMost: 0.53 },
  },
  run({ data, seed, say }) {
    const { tuned, held, extra, notRun } = decideTraces(data, seed);
    const traces = [...tuned, ...held, ...extra, ...fastTraces(data)];
    const link = { model: linkModel() };
    const rows: Row[] = [];
    const figures: Record<string, number> = {};
    const drawn = drawnTimes(seed);
    const passes = [
      { name: "", about: "20 kB once in every second", bytes: 20_000, times: drawn },
      { name: "OnTheBeat", about: "20 kB at every full second", bytes: 20_000, times: onTheBeat },
      { name: "At150Kilobytes", about: "150 kB once in every second", bytes: 150_000, times: drawn },
    ];
    for (const { name, about, bytes, times } of passes) {
      say(`  ${about}:`);
      const found = promises(traces, bytes, times, link, say);
      rows.push(...found.rows.map((row) => ({ ...row, sent: about })));
      for (const [figure, value] of Object.entries(found.figures)) figures[figure + name] = value;
    }
    return Promise.resolve({ figures, rows, notRun });
  },
};
