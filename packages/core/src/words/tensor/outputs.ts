import type { Datatype } from "./datatype.ts";
import { textElements } from "./texts.ts";
import type { Tensor, Tensors, TensorSpec } from "./tensor.ts";
import { numbersOf, numericView, type NumericView } from "./views.ts";

/** Elements of an output: a typed array, or texts for BYTES. */
export type OutputData = NumericView | readonly string[];

/**
 * One output of a result. It is a `Tensor`, so that it can be the input of another request, and it gives its elements and sizes in the
 * form that an app reads.
 *
 * @example
 * ```ts
 * const { outputs } = await offloader.infer("double", { x: Float32Array.of(1, 2, 3) });
 * const { data, dims } = outputs.get("y");
 * ```
 */
export interface OutputTensor extends Tensor {
  /** Sizes of the axes, row-major: `spec.shape`. */
  readonly dims: readonly number[];
  /**
   * The elements, row-major. A typed array of the datatype, which shares the memory of `bytes` where alignment permits; BOOL as 0 and 1
   * in a `Uint8Array`; FP16 and BF16 widened to a `Float32Array` (a copy); BYTES as texts, decoded as UTF-8 (a copy; `bytesElements`
   * gives the bytes). Made at each read: keep it in a variable.
   */
  readonly data: OutputData;
  /** Name, datatype, sizes and plain numbers, booleans or texts; 64-bit integers beyond 2^53 as texts. Called by `JSON.stringify`. */
  toJSON(): OutputJson;
}

/** An output in JSON. Numbers that JSON does not have (NaN, Infinity) are texts. */
export interface OutputJson {
  readonly name: string;
  readonly datatype: Datatype;
  readonly dims: readonly number[];
  readonly data: readonly (number | boolean | string)[];
}

/** Outputs of a result by name. */
export interface Outputs extends ReadonlyMap<string, OutputTensor> {
  /** The outputs by name, each as `OutputTensor.toJSON` has it. */
  toJSON(): Readonly<Record<string, OutputJson>>;
}

class Output implements OutputTensor {
  readonly spec: TensorSpec;
  readonly bytes: Uint8Array;
  declare readonly rows?: Int32Array;
  declare readonly given?: true;
  declare readonly back?: (memory: ArrayBuffer) => void;

  constructor(tensor: Tensor) {
    this.spec = tensor.spec;
    this.bytes = tensor.bytes;
    Object.assign(this, tensor);
  }

  get dims(): readonly number[] {
    return this.spec.shape;
  }

  get data(): OutputData {
    const { datatype } = this.spec;
    if (datatype === "BYTES") return textElements(this);
    if (datatype !== "FP16" && datatype !== "BF16") return numericView(this);
    return Float32Array.from(numbersOf(this), Number);
  }

  toJSON(): OutputJson {
    const { name, datatype, shape } = this.spec;
    const elements: Iterable<number | bigint | string> = this.data;
    const plain = (value: number | bigint | string): number | boolean | string => {
      if (datatype === "BOOL") return value !== 0;
      if (typeof value === "string") return value;
      const number = Number(value);
      const exact = typeof value === "bigint" ? Number.isSafeInteger(number) : Number.isFinite(number);
      return exact ? number : String(value);
    };
    return { name, datatype, dims: shape, data: Array.from(elements, plain) };
  }
}

class OutputMap extends Map<string, OutputTensor> implements Outputs {
  toJSON(): Readonly<Record<string, OutputJson>> {
    return Object.fromEntries(Array.from(this, ([name, output]) => [name, output.toJSON()]));
  }
}

/** The same tensors, sharing their memory, as an app is given them. */
export function outputsOf(tensors: Tensors): Outputs {
  const outputs = new OutputMap();
  for (const [name, tensor] of tensors) outputs.set(name, new Output(tensor));
  return outputs;
}
