import type { Call } from "../../words/base/index.ts";
import { renamed, type Tensor, type Tensors } from "../../words/tensor/index.ts";
import type { IncomingTensor, InferenceRequest } from "./endpoint.ts";

/*
 * The inputs of a request, each of which is here or still arriving. Elsewhere no code needs to know which.
 */

type Inputs = InferenceRequest["inputs"];
type Input = Tensor | IncomingTensor;

const isArriving = (input: Input): input is IncomingTensor => "read" in input;

/** Bytes of an input. */
export function inputBytes(input: Input): number {
  return isArriving(input) ? input.byteLength : input.bytes.byteLength;
}

/** Bytes of all inputs. */
export function bytesOfInputs(inputs: Inputs): number {
  let bytes = 0;
  for (const input of inputs.values()) bytes += inputBytes(input);
  return bytes;
}

/** Whether all inputs are here. */
export function areHere(inputs: Inputs): inputs is Tensors {
  for (const input of inputs.values()) if (isArriving(input)) return false;
  return true;
}

/** The inputs that are here. */
export function inputsHere(inputs: Inputs): Tensors {
  if (areHere(inputs)) return inputs;
  const here = new Map<string, Tensor>();
  for (const [name, input] of inputs) if (!isArriving(input)) here.set(name, input);
  return here;
}

/** All inputs, once they have arrived. */
export async function readInputs(inputs: Inputs, call: Call): Promise<Map<string, Tensor>> {
  const read = new Map<string, Tensor>();
  for (const [name, input] of inputs) read.set(name, isArriving(input) ? await input.read(call) : input);
  return read;
}

/** The same input under another name. */
export function renamedInput(input: Input, name: string): Input {
  if (!isArriving(input)) return renamed(input, name);
  const { spec, byteLength } = input;
  const read = async (call: Call): Promise<Tensor> => renamed(await input.read(call), name);
  return { spec: { ...spec, name }, byteLength, read };
}
