import { existsSync, readdirSync, readFileSync, statSync } from "node:fs";
import { basename, join } from "node:path";
import { LongshoreError } from "@longshore/core";
import {
  carrying,
  familyTrace,
  linkShapes,
  meanBitsPerSecond,
  readArrivals,
  readTwoColumns,
  readMahimahi,
  scaled,
  stretched,
  syntheticTrace,
  type Trace,
  traceFamilies,
  traceOf,
} from "@longshore/lab";

/** Traces in groups: bars are held on uplinks; the others are printed beside them. */
export interface DecideTraces {
  /** Uplinks that parameters were chosen on, and the others. */
  readonly tuned: readonly Trace[];
  readonly held: readonly Trace[];
  /** Downlinks replayed as uplinks, named so. */
  readonly extra: readonly Trace[];
  /** Instants of bursty requests, in milliseconds; undefined without data. */
  readonly bursts: readonly number[] | undefined;
  readonly notRun: readonly string[];
}

/** The two uplinks that the parameters of core were last chosen on. */
const tunedOn = ["Verizon-EVDO-driving.up", "Verizon-LTE-short.up"];
/** Files larger than this are no traces that a bench should read. */
const mostBytes = 64e6;
/** A p99 of fewer requests than come in a minute is one answer, and after an hour nothing new is to be learned. */
const lengths = { leastMs: 60_000, mostMs: 3_600_000 };
/** On a slower link, bytes never arrive: requests for an hour would take weeks. */
const leastBitsPerSecond = 20e3;

/**
 * The traces of the data folder; those of any other folder, each file a trace in a format that is recognised; synthetic
 * ones when there is no folder.
 */
export function decideTraces(data: string | undefined, seed: number): DecideTraces {
  if (data && existsSync(join(data, "traces/lte-mahimahi"))) return ofDataFolder(join(data, "traces"));
  const found = data ? ofAnyFolder(data) : undefined;
  if (found && found.held.length + found.extra.length > 0) return found;
  const held = [0, 1].map((more) =>
    syntheticTrace(linkShapes.stalling, seed + more, 180_000, "stalling uplink"),
  );
  const notRun = [
    "recorded uplinks: no traces found (--data DIR); synthetic ones stand in",
    ...(found?.notRun ?? []),
  ];
  return { tuned: [], held, extra: [], bursts: undefined, notRun };
}

/** One link of each made-up family: nothing was recorded, and nothing is known of them beforehand. */
export function generatedTraces(seed: number): DecideTraces {
  const held = traceFamilies.map((family) => familyTrace(family, seed));
  return { tuned: [], held, extra: [], bursts: undefined, notRun: [] };
}

function ofDataFolder(folder: string): DecideTraces {
  const cellular = join(folder, "lte-mahimahi");
  const read = (name: string): Trace =>
    carrying(readMahimahi(asUplink(name), readFileSync(join(cellular, name), "utf8")));
  const names = readdirSync(cellular).sort();
  const ups = names.filter((name) => name.endsWith(".up"));
  const verizon = ups.find((name) => name === "Verizon-LTE-short.up");
  const held = ups.filter((name) => !tunedOn.includes(name)).map(read);
  if (verizon) held.push(scaled(read(verizon), 5));
  const slow = ["3g-hsdpa-norway", "broadband"].flatMap((group) =>
    existsSync(join(folder, group))
      ? readdirSync(join(folder, group))
          .sort()
          .map((name) =>
            carrying(
              readTwoColumns(
                `${name.slice(0, 24)} as uplink`,
                readFileSync(join(folder, group, name), "utf8"),
              ),
            ),
          )
      : [],
  );
  const requests = join(folder, "requests/AzureLLMInferenceTrace_code.csv");
  return {
    tuned: ups.filter((name) => tunedOn.includes(name)).map(read),
    held,
    extra: [...names.filter((name) => name.endsWith(".down")).map(read), ...slow],
    bursts: existsSync(requests)
      ? readArrivals(basename(requests), readFileSync(requests, "utf8"))
      : undefined,
    notRun: [],
  };
}

function ofAnyFolder(folder: string): DecideTraces {
  const held: Trace[] = [];
  const extra: Trace[] = [];
  const notRun: string[] = [];
  for (const name of readdirSync(folder).sort()) {
    try {
      const { trace, leftOut } = fitting(carrying(ofFile(folder, name)));
      if (leftOut) notRun.push(`${name}: ${leftOut}`);
      (name.endsWith(".down") ? extra : held).push(trace);
    } catch (thrown) {
      notRun.push(`${name}: ${thrown instanceof Error ? thrown.message : String(thrown)}`);
    }
  }
  return { tuned: [], held, extra, bursts: undefined, notRun };
}

function ofFile(folder: string, name: string): Trace {
  const file = statSync(join(folder, name));
  if (!file.isFile()) throw refused("not a file; a folder of traces is read by itself");
  if (file.size > mostBytes) throw refused(`${file.size} bytes; at most ${mostBytes} are read`);
  return traceOf(asUplink(name), readFileSync(join(folder, name), "utf8"));
}

/** A trace as it is replayed: a short one again and again for a minute, of a long one the first hour. */
function fitting(trace: Trace): { readonly trace: Trace; readonly leftOut?: string } {
  const { lengthMs } = trace;
  const rounds = Math.max(1, Math.ceil(lengths.leastMs / lengthMs));
  const wantedMs = Math.min(lengths.mostMs, rounds * lengthMs);
  const fitted =
    wantedMs === lengthMs ? trace : { ...trace, lengthMs: wantedMs, packets: trace.positionAt(wantedMs) };
  // Of what is replayed: the rest may make up for an hour in which nothing passes.
  const rate = meanBitsPerSecond(fitted);
  if (!(rate >= leastBitsPerSecond))
    throw refused(
      `it carries ${Math.round(rate)} bit/s on average; at least ${leastBitsPerSecond} are replayed`,
    );
  if (wantedMs >= lengthMs) return { trace: fitted };
  const hours = (lengthMs / 3_600_000).toFixed(1);
  return { trace: fitted, leftOut: `of its ${hours} hours, all but the first` };
}

function refused(what: string): LongshoreError {
  return new LongshoreError("invalid-input", "decode", what);
}

function asUplink(name: string): string {
  return name.endsWith(".down") ? `${name} as uplink` : name;
}

/** Bursty arrivals stretched until they use the device at most 0.3 of the time on average, with the factor. */
export function scaledBursts(
  bursts: readonly number[],
  localMs: number,
): { readonly arrivals: readonly number[]; readonly factor: number } {
  const spanMs = bursts[bursts.length - 1] ?? 0;
  const factor = Math.max(1, (bursts.length * localMs) / 0.3 / Math.max(1, spanMs));
  return { arrivals: stretched(bursts, factor), factor };
}
