import { readModel, splitGraph } from "@longshore/graph";
import type { OpenedModel } from "../engine/open-model.ts";
import type { CommandIo } from "../options/io.ts";
import { wholeModels } from "../model-file/whole-models.ts";

/** Tells which outputs of a model are missing in what follows, and why. */
export function noteLeftOut(leftOut: readonly string[], io: Pick<CommandIo, "note">): void {
  if (leftOut.length === 0) return;
  io.note(`left out: ${leftOut.join(", ")}; only tensors can be answered`);
}

/** The same for a bare model file that is opened only by an engine. Says nothing of files that do not read. */
export async function noteLeftOutOf(
  { store, model, folder }: OpenedModel,
  io: Pick<CommandIo, "note">,
): Promise<void> {
  if (folder !== undefined || model === undefined) return;
  const bytes = await wholeModels(store).read(`${model}/1/model.onnx`);
  if (bytes) noteLeftOut(splitGraph(readModel(bytes)).leftOut, io);
}
