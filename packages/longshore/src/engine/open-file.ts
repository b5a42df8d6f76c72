import { type Call, LongshoreError } from "@longshore/core";
import type { Artifact } from "@longshore/engine";
import { type OnnxSource, onnxSource, type OpenGraph } from "@longshore/graph";
import { sha256 } from "@longshore/nodejs";
import type { OpenedModel } from "./open-model.ts";
import { wholeModels } from "../model-file/whole-models.ts";

/** One graph file of an opened model, read and analysed. */
export interface OpenedFile {
  readonly path: string;
  readonly artifact: Artifact;
  readonly graph: OpenGraph;
  readonly source: OnnxSource;
}

/**
 * Opens the graph of a model that is one ONNX file (not a pipeline). The newest version unless one is named. Throws
 * `unknown-model`, `unsupported` for a pipeline, `invalid-model`.
 */
export async function openFile(opened: OpenedModel, call: Call, version?: string): Promise<OpenedFile> {
  if (opened.model === undefined) {
    throw new LongshoreError(
      "unknown-model",
      "resolve",
      "a repository was named; name one of its models: REPOSITORY/MODEL",
    );
  }
  const entries = (await opened.store.list(opened.model)) ?? [];
  const versions = entries
    .filter((entry) => entry.directory && /^\d+$/.test(entry.name))
    .map((entry) => entry.name);
  const chosen = version ?? versions.sort((a, b) => Number(b) - Number(a))[0];
  const path = `${opened.model}/${chosen ?? ""}/model.onnx`;
  const bytes = chosen === undefined ? undefined : await wholeModels(opened.store).read(path);
  if (!bytes) {
    throw new LongshoreError(
      "unsupported",
      "resolve",
      `${opened.model} has no model.onnx of its own (a pipeline?); name the .onnx file or the model of the step that should be split`,
    );
  }
  const artifact: Artifact = {
    digest: await sha256(bytes),
    byteLength: bytes.byteLength,
    bytes: () => Promise.resolve(bytes.slice()),
  };
  const source = onnxSource({ sha256 });
  return { path, artifact, graph: await source.open(artifact, call), source };
}
