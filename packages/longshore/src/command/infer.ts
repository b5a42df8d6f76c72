import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type Answer, type Limits, type Result, type Tensor, textElements } from "@longshore/core";
import { meanOf } from "@longshore/core/internal";
import { writeNpy } from "../inputs/npy.ts";
import type { CommandIo, ExitCode } from "../options/io.ts";
import { accountText, tensorJson, tensorLine } from "./print-result.ts";
import { prepareRequest } from "./request.ts";
import type { RequestOptions } from "./request-options.ts";

/** Options of `longshore infer`. */
export interface InferCommandOptions extends RequestOptions {
  readonly random: boolean;
  /** Each answer by itself, as it comes. */
  readonly several: boolean;
  readonly save?: string;
}

/** A file name made of an output's name, which may hold anything. */
function fileName(name: string, index: number): string {
  const safe = name.replaceAll(/[^A-Za-z0-9._-]+/g, "_").slice(0, 60);
  return `${index}-${safe || "output"}`;
}

async function save(outputs: ReadonlyMap<string, Tensor>, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  for (const [index, [name, tensor]] of [...outputs].entries()) {
    const path = join(folder, fileName(name, index));
    if (tensor.spec.datatype === "BYTES") {
      await writeFile(`${path}.txt`, `${textElements(tensor).join("\n")}\n`);
    } else {
      await writeFile(
        `${path}.npy`,
        writeNpy(tensor.rows ? { ...tensor, spec: { ...tensor.spec, shape: [flatLength(tensor)] } } : tensor),
      );
    }
  }
}

function flatLength(tensor: Tensor): number {
  const width = tensor.spec.datatype === "FP32" || tensor.spec.datatype === "INT32" ? 4 : 1;
  return tensor.bytes.byteLength / width;
}

/** A result as stable JSON. */
export function resultJson(result: Result): unknown {
  return {
    outputs: Object.fromEntries([...result.outputs].map(([name, tensor]) => [name, tensorJson(tensor)])),
    where: result.where,
    because: result.because,
    tookMs: result.tookMs,
    predictedMs: result.predictedMs,
    predictedLabel: result.predictedLabel,
    sentBytes: result.sentBytes,
    receivedBytes: result.receivedBytes,
    energy: result.energy,
    costMicros: result.costMicros,
    ...(result.carbonMicrograms === undefined ? {} : { carbonMicrograms: result.carbonMicrograms }),
    lostLegs: result.lostLegs,
    accounts: result.accounts,
    plans: result.plans.map((plan) => ({
      variant: plan.variant,
      because: plan.because,
      predictedMs: meanOf(plan.predicted.completionMs),
      legs: plan.legs.map(({ id, segment, endpoint, codecs, starts }) => ({
        id,
        from: segment.from,
        to: segment.to,
        endpoint,
        codecs,
        starts,
      })),
    })),
  };
}

/** Prints each answer as it comes, and where it was made; saves them in folders of their own. */
async function printAnswers(
  answers: AsyncIterable<Answer>,
  options: InferCommandOptions,
  io: CommandIo,
): Promise<void> {
  let count = 0;
  for await (const { outputs, where } of answers) {
    if (options.save !== undefined) await save(outputs, join(options.save, `${count}`));
    const tensors = [...outputs];
    if (options.json) {
      const named = Object.fromEntries(tensors.map(([name, tensor]) => [name, tensorJson(tensor)]));
      io.out(JSON.stringify({ answer: count, outputs: named, where }));
    } else for (const [name, tensor] of tensors) io.out(`${count} ${where} ${tensorLine(name, tensor)}`);
    count++;
  }
  if (!options.json) io.out(`${count} answer${count === 1 ? "" : "s"}`);
}

/** Runs one inference where it is best and prints the answer and the account; with `several` all answers, each with its endpoint. */
export async function inferCommand(
  model: string,
  options: InferCommandOptions,
  io: CommandIo,
): Promise<ExitCode> {
  const prepared = await prepareRequest(model, options, io);
  const limits: Limits = {
    ...prepared.limits,
    progress: (note) =>
      io.progress(`${note.kind} ${note.leg ?? ""} ${note.endpoint ?? ""} ${note.bytes ?? ""}`),
  };
  try {
    if (options.several) {
      await printAnswers(prepared.offloader.answers(prepared.model, prepared.inputs, limits), options, io);
      return 0;
    }
    const result = await prepared.offloader.infer(prepared.model, prepared.inputs, limits);
    if (options.save !== undefined) await save(result.outputs, options.save);
    if (options.json) io.out(JSON.stringify(resultJson(result)));
    else {
      for (const [name, tensor] of result.outputs) io.out(tensorLine(name, tensor));
      io.out("");
      io.out(accountText(result));
    }
    return 0;
  } finally {
    await prepared.close();
  }
}
