import type { WireLimits } from "@longshore/core";
import {
  eachOnce,
  type InferRequestMessage,
  type RequestedOutput,
  sharedPartOf,
  wholeParameter,
  type WireTensor,
} from "@longshore/core/internal";
import { Cursor } from "./cursor.ts";
import { rawField } from "./peek.ts";
import { type ParameterList, parametersOf, readParameter, writeParameters } from "./parameters.ts";
import { checkRoom, invalid, type MessageTensor, readTensor, tensorsOfContents } from "./read-tensors.ts";
import { type Parts, withRaw, writeSpecs } from "./write-tensors.ts";
import { Writer } from "./writer.ts";

/** The list that `rawField` is, as messages for people call it. */
export const rawName = "raw_input_contents";

/** An inference request as gRPC carries it: the model is in the message, not in a path. */
export interface AddressedRequest {
  readonly model: string;
  /** Empty for the server's choice. */
  readonly version: string;
  readonly message: InferRequestMessage;
}

function readOutput(cursor: Cursor, where: string, limits: WireLimits): RequestedOutput {
  let name = "";
  const list: ParameterList = [];
  while (cursor.field()) {
    if (cursor.number === 1) name = cursor.text(limits.maxNameLength, `${where}.name`);
    else if (cursor.number === 2) readParameter(cursor.inner(), where, limits, list);
    else cursor.skip();
  }
  if (name === "") throw invalid(`${where}.name must be text of 1 to ${limits.maxNameLength} characters`);
  const parameters = parametersOf(list);
  const classification = wholeParameter(parameters, "classification", where);
  const shared = sharedPartOf(parameters, where);
  return {
    name,
    binary: true,
    ...(classification === undefined ? {} : { classification }),
    ...(shared === undefined ? {} : { shared }),
  };
}

/** The fields of a `ModelInferRequest` besides its raw contents, as they come. */
export class RequestFields {
  model = "";
  version = "";
  readonly inputs: MessageTensor[] = [];
  readonly outputs: RequestedOutput[] = [];
  #id: string | undefined;
  readonly #parameters: ParameterList = [];
  readonly #limits: WireLimits;

  constructor(limits: WireLimits) {
    this.#limits = limits;
  }

  /** Reads the field that the cursor is at; skips unknown ones. */
  take(cursor: Cursor): void {
    const limits = this.#limits;
    const { inputs, outputs } = this;
    switch (cursor.number) {
      case 1:
        this.model = cursor.text(limits.maxNameLength, "model_name");
        break;
      case 2:
        this.version = cursor.text(limits.maxNameLength, "model_version");
        break;
      case 3:
        this.#id = cursor.text(limits.maxNameLength, "id");
        break;
      case 4:
        readParameter(cursor.inner(), "parameters", limits, this.#parameters);
        break;
      case 5:
        checkRoom(inputs, "inputs", limits);
        inputs.push(readTensor(cursor.inner(), `inputs[${inputs.length}]`, limits));
        break;
      case 6:
        checkRoom(outputs, "outputs", limits);
        outputs.push(readOutput(cursor.inner(), `outputs[${outputs.length}]`, limits));
        break;
      default:
        cursor.skip();
    }
  }

  /** The request with these inputs. */
  request(inputs: readonly WireTensor[]): AddressedRequest {
    const { model, version, outputs } = this;
    const message = {
      ...(this.#id === undefined ? {} : { id: this.#id }),
      parameters: parametersOf(this.#parameters),
      inputs,
      ...(outputs.length === 0 ? {} : { outputs: eachOnce(outputs) }),
      binaryOutputs: true,
    };
    return { model, version, message };
  }
}

/**
 * The work of reading a `ModelInferRequest`, which yields after each two milliseconds or so. Raw contents, and typed ones of
 * FP32 and FP64, become views on `source`. Inputs come all raw or all typed. Throws `invalid-input`, `body-mismatch` or
 * `body-too-large`, and no other error, for any bytes.
 */
export function* inferRequestWork(source: Uint8Array, limits: WireLimits): Generator<void, AddressedRequest> {
  const cursor = new Cursor(source);
  const fields = new RequestFields(limits);
  const raws: Uint8Array[] = [];
  while (cursor.field()) {
    if (cursor.number !== rawField) {
      fields.take(cursor);
      continue;
    }
    checkRoom(raws, rawName, limits);
    raws.push(cursor.view());
  }
  const names = { tensors: "inputs", raw: rawName };
  return fields.request(yield* tensorsOfContents(fields.inputs, raws, source, limits, names));
}

/** Writes a `ModelInferRequest`, all inputs as `raw_input_contents`: nothing lies in shared memory. */
export function encodeInferRequest({ model, version, message }: AddressedRequest): Parts {
  const writer = new Writer();
  writer.text(1, model);
  writer.text(2, version);
  writer.text(3, message.id ?? "");
  writeParameters(writer, 4, message.parameters);
  writeSpecs(writer, 5, message.inputs);
  for (const { name, classification } of message.outputs ?? []) {
    writer.nested(6, () => {
      writer.text(1, name);
      writeParameters(writer, 2, classification === undefined ? {} : { classification });
    });
  }
  return withRaw(writer, 7, message.inputs);
}
