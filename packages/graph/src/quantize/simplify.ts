import type { Call } from "@longshore/core";
import type { Runtime } from "@longshore/engine";
import type { ModelProto } from "../onnx/index.ts";
import { GraphEditor } from "./editor.ts";
import { foldAffine } from "./fold-affine.ts";
import { layTransposed } from "./lay-transposed.ts";
import { simplifyPatterns } from "./patterns.ts";
import { raiseOpset } from "./raise-opset.ts";
import { storeConstants } from "./store-constants.ts";

/**
 * The model in a form that can be quantised: constants stored, operator set raised, scales and shifts folded into
 * convolutions, spelled-out operators named. It gives the answers of the model up to the last bits. A copy; the model that
 * was given stays as it is.
 */
export async function simplified(model: ModelProto, runtime: Runtime, call: Call): Promise<ModelProto> {
  const editor = new GraphEditor(model);
  await storeConstants(editor, runtime, call);
  raiseOpset(editor);
  simplifyPatterns(editor);
  foldAffine(editor);
  layTransposed(editor);
  editor.graph.valueInfo = [];
  return editor.model;
}
