import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { endCut, type GoldenPair, LongshoreError, startCut } from "@longshore/core";
import { goldenFile, goldenText, housekeepingCall } from "@longshore/core/internal";
import type { CommandIo, ExitCode } from "../options/io.ts";
import { sampleTensors } from "../profile/measure.ts";
import { openEngine } from "../engine/open-engine.ts";
import { openModel } from "../engine/open-model.ts";

/** Options of `longshore golden`. */
export interface GoldenCommandOptions {
  readonly samples?: string;
  readonly pairs: number;
  readonly dataClass: string;
  readonly json: boolean;
}

/** Runs a model here on a few inputs and keeps inputs and answers beside it, for other endpoints to be judged by. */
export async function golden(model: string, options: GoldenCommandOptions, io: CommandIo): Promise<ExitCode> {
  const call = housekeepingCall("golden", io.stop);
  const opened = await openModel(model);
  if (opened.model === undefined || opened.folder === undefined) {
    throw new LongshoreError("invalid-input", "resolve", "name one model of a repository: REPOSITORY/MODEL");
  }
  const { engine, close } = openEngine({ store: opened.store, tier: "cloud" });
  try {
    const knowledge = await engine.describe(opened.model, undefined, call);
    if (!knowledge) throw new LongshoreError("unknown-model", "resolve", `there is no model ${opened.model}`);
    const { name, version, digest, variants } = knowledge.description;
    const variant = variants[0]?.name ?? "default";
    const segment = { model: name, version, digest, variant, from: startCut, to: endCut };
    if (knowledge.description.outputs.some(({ ragged }) => ragged === true)) {
      throw new LongshoreError(
        "unsupported",
        "resolve",
        `${name} has ragged outputs, which golden.json cannot hold`,
      );
    }
    const pairs: GoldenPair[] = [];
    const samples = await sampleTensors(engine, knowledge.description, options.samples, call, options.pairs);
    for (const inputs of samples.slice(0, options.pairs)) {
      const { outputs } = await engine.infer({ segment, inputs, codecs: {} }, call);
      pairs.push({ name: String(pairs.length + 1), inputs, outputs });
    }
    const folder = join(opened.folder, version);
    const file = join(folder, goldenFile);
    await mkdir(folder, { recursive: true });
    await writeFile(file, goldenText({ digest, dataClass: options.dataClass, pairs }));
    if (options.json) io.out(JSON.stringify({ model: name, version, digest, pairs: pairs.length, file }));
    else io.out(`${pairs.length} golden inputs of ${name} ${version} in ${file}`);
    return 0;
  } finally {
    await close();
  }
}
