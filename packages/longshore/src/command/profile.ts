import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  type Endpoint,
  LongshoreError,
  type ModelDescription,
  type Profile,
  silentObserver,
} from "@longshore/core";
import { housekeepingCall, stepModels } from "@longshore/core/internal";
import { acceleratorProfileFile, onProcessor } from "@longshore/engine";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { eachProvider } from "../profile/each-provider.ts";
import { meanTimeMs } from "../profile/measure-here.ts";
import { withOthers } from "../profile/merge-profile.ts";
import { measuredHere, measureModel, sampleTensors } from "../profile/measure.ts";
import { portsAt } from "../connect/described-at.ts";
import { dial, serverInfo } from "../connect/dial.ts";
import { openEngine, type RuntimeName } from "../engine/open-engine.ts";
import { openModel } from "../engine/open-model.ts";
import { processorClock } from "../profile/processor-clock.ts";
import { type AtOptions, serversOf } from "../options/at-options.ts";
import { byteCount, type CommandIo, type ExitCode, milliseconds, table } from "../options/io.ts";
import { warnWhenBusy } from "../profile/busy-machine.ts";

/** Options of `longshore profile`. */
export interface ProfileCommandOptions extends AtOptions {
  readonly samples?: string;
  readonly runs?: number;
  readonly variant?: readonly string[];
  readonly processorTime: boolean;
  readonly write: boolean;
  readonly runtime: RuntimeName;
  readonly providers?: readonly string[];
  readonly eachProvider?: boolean;
  readonly json: boolean;
}

/** Measures segments, codecs and memory of a model on this machine. */
export async function profile(
  model: string,
  options: ProfileCommandOptions,
  io: CommandIo,
): Promise<ExitCode> {
  if (options.eachProvider) {
    if (options.write || options.at.length > 0 || options.variant || options.runtime !== "onnxruntime") {
      const why =
        "--each-provider compares providers on the whole model here: leave out --write, --at, --variant and --runtime";
      throw new LongshoreError("invalid-input", "resolve", why);
    }
    return eachProvider(model, options, io);
  }
  const accelerator = options.providers?.find((one) => !onProcessor(one));
  if (options.write && accelerator !== undefined && options.providers?.length !== 1) {
    const why = `--write keeps a profile for each provider: name one (--providers ${accelerator}), not '${options.providers?.join(",")}'`;
    throw new LongshoreError("invalid-input", "resolve", why);
  }
  if (options.processorTime && options.at.length > 0) {
    const why =
      "--processor-time counts the work of this process, not that of servers of --at: leave out one of them";
    throw new LongshoreError("invalid-input", "resolve", why);
  }
  const call = housekeepingCall("profile", io.stop);
  const clock = options.processorTime ? processorClock() : systemClock();
  const opened = await openModel(model);
  if (opened.model === undefined) {
    throw new LongshoreError(
      "unknown-model",
      "resolve",
      "a repository was named; name one of its models: REPOSITORY/MODEL",
    );
  }
  // As a cloud, so that variants that only the cloud may hold are measured too.
  const servers = await serversOf(options);
  const { engine, close } = openEngine({
    store: opened.store,
    runtime: options.runtime,
    ...(options.providers ? { providers: options.providers } : {}),
    tier: "cloud",
    elsewhere: portsAt({ servers }),
  });
  const parts = { clock: systemClock(), random: systemRandom(), observer: silentObserver };
  const endpoints: Endpoint[] = [];
  try {
    for (const server of servers) endpoints.push(dial(serverInfo(server), parts, server));
    const knowledge = await engine.describe(opened.model, undefined, call);
    if (!knowledge) throw new LongshoreError("unknown-model", "resolve", `there is no model ${opened.model}`);
    const { description, profile: told } = knowledge;
    const runtime = options.providers ? `${options.runtime} ${options.providers.join("+")}` : options.runtime;
    // An assumed one, which was not measured, has no threads.
    // The times of another provider say nothing of this one.
    const alike = accelerator === undefined || told?.measuredOn.runtime === runtime;
    const known = told && told.measuredOn.threads > 0 && alike ? told : undefined;
    const samples = await sampleTensors(engine, description, options.samples, call);
    const variants = options.variant && [
      ...new Set([...(options.write ? unknownStandard(description, known) : []), ...options.variant]),
    ];
    const others = measuredHere(description, endpoints) ? stepsOfOthers(description) : [];
    await warnWhenBusy(io);
    io.note(`measuring ${opened.model} with ${samples.length} inputs on ${runtime}, one thread`);
    const measured = await measureModel(
      {
        engine,
        endpoints,
        clock,
        model: opened.model,
        runtime,
        samples,
        ...(options.runs === undefined ? {} : { rounds: options.runs }),
        ...(variants ? { variants } : {}),
        progress: (note) => io.progress(`${note.variant}: ${note.measured} of ${note.chosen} cuts`),
      },
      call,
    );
    if (options.write) {
      if (opened.folder === undefined) {
        throw new LongshoreError(
          "invalid-input",
          "resolve",
          "--write needs a model folder: put the file into REPOSITORY/MODEL/1/model.onnx",
        );
      }
      const folder = join(opened.folder, measured.version);
      await mkdir(folder, { recursive: true });
      const whole = withOthers(known, measured);
      const file = join(
        folder,
        accelerator === undefined ? "profile.json" : acceleratorProfileFile(accelerator),
      );
      await writeFile(file, `${JSON.stringify(whole, null, 1)}\n`);
      io.note(`wrote ${file}`);
      if (accelerator !== undefined && !existsSync(join(folder, "profile.json")))
        io.note("profile.json is missing: measure the processor too (longshore profile MODEL --write)");
    }
    if (others.length > 0) {
      const why =
        endpoints.length > 0
          ? "pipelines in sequences are measured up to there"
          : "name servers that have them (--at) to measure all of it";
      io.note(`left out ${others.join(", ")}, which only other endpoints have, and the rest: ${why}`);
    }
    if (options.json) io.out(JSON.stringify(measured));
    else io.out(profileText(measured));
    return 0;
  } finally {
    for (const endpoint of endpoints) await endpoint.close();
    await close();
  }
}

/** The first variant where nothing is known of it: a profile without it would leave requests only what agrees less. */
function unknownStandard(
  { variants: [standard] }: ModelDescription,
  known: Profile | undefined,
): readonly string[] {
  if (!standard || known?.variants.some(({ variant }) => variant === standard.name)) return [];
  return [standard.name];
}

/** Models of steps that are not here, by name, once each. */
function stepsOfOthers({ variants }: ModelDescription): readonly string[] {
  const steps = variants.flatMap(({ body }) => stepModels(body));
  return [
    ...new Set(steps.flatMap(({ step, run }) => (run.elsewhere ? [`${run.model} (step ${step.id})`] : []))),
  ];
}

/** A profile as tables for people. */
export function profileText(measured: Profile): string {
  return measured.variants
    .flatMap(({ variant, buckets }) =>
      buckets.map((bucket) =>
        [
          `${measured.model} ${measured.version}, variant ${variant}: ${bucket.legalCuts} legal cuts, ${bucket.cuts.length} that can be best`,
          table(
            ["cut", "head", "tail", "codec", "bytes", "encode", "decode", "error", "agreement"],
            bucket.cuts.flatMap((cut) =>
              cut.codings.map((coding, index) => [
                index === 0 ? cut.cut.id : "",
                index === 0 ? milliseconds(meanTimeMs(cut.headMs)) : "",
                index === 0 ? milliseconds(meanTimeMs(cut.tailMs)) : "",
                [...new Set(Object.values(coding.codecs))].join(" ") || "raw",
                byteCount(coding.bytes),
                milliseconds(coding.encodeMs),
                milliseconds(coding.decodeMs),
                coding.errorRatio === undefined ? "" : String(Number(coding.errorRatio.toPrecision(2))),
                coding.agreementRatio.toFixed(4),
              ]),
            ),
          ),
        ].join("\n"),
      ),
    )
    .join("\n\n");
}
