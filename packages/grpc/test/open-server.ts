/** A server over an endpoint in memory, for the tests of gRPC. */
import {
  bytesTensor,
  codecSet,
  type Clock,
  float32Tensor,
  float32View,
  type Handler,
  numericTensor,
  rawCodec,
  seededRandom,
  type Tensor,
  type Tensors,
  tensorsOf,
  textElements,
} from "@longshore/core";
import { int32View } from "@longshore/core/internal";
import { systemClock } from "@longshore/nodejs";
import { createHandler, createLife, directSocket, type HandlerParts } from "@longshore/server";
import { doubleDescription, type DoubleModel, doubleEndpoint } from "@longshore/testkit";
import { type GrpcListening, listenGrpc } from "../src/listen/index.ts";
import type { GrpcListenOptions } from "../src/listen/index.ts";

function input(inputs: Tensors, name: string): Tensor {
  const found = inputs.get(name);
  if (!found) throw new Error(`the input ${name} is missing`);
  return found;
}

/** Doubles FP32 values. */
export const doubleModel: DoubleModel = {
  description: doubleDescription({
    name: "double",
    inputs: [{ name: "x", datatype: "FP32", shape: [-1, -1] }],
    outputs: [{ name: "y", datatype: "FP32", shape: [-1, -1] }],
    labels: { y: ["cat", "dog", "owl"] },
  }),
  run: (inputs: Tensors) => {
    const x = input(inputs, "x");
    return tensorsOf(
      float32Tensor(
        "y",
        x.spec.shape,
        float32View(x).map((value) => value * 2),
      ),
    );
  },
};

/** Gives INT32 and BYTES inputs back, the numbers plus one and the words in capitals. */
export const mixedModel: DoubleModel = {
  description: doubleDescription({
    name: "mixed",
    version: "3",
    inputs: [
      { name: "n", datatype: "INT32", shape: [-1] },
      { name: "words", datatype: "BYTES", shape: [-1] },
    ],
    outputs: [
      { name: "n", datatype: "INT32", shape: [-1] },
      { name: "words", datatype: "BYTES", shape: [-1] },
    ],
  }),
  run: (inputs: Tensors) => {
    const n = input(inputs, "n");
    return tensorsOf(
      numericTensor(
        "n",
        "INT32",
        n.spec.shape,
        int32View(n).map((value) => value + 1),
      ),
      bytesTensor(
        "words",
        textElements(input(inputs, "words")).map((word) => word.toUpperCase()),
      ),
    );
  },
};

const open: GrpcListening[] = [];

/** Closes what a test has opened. */
export async function closeAll(): Promise<void> {
  await Promise.all(open.splice(0).map((one) => one.close(0)));
}

/** Puts any handler on a free port. */
export async function listenOn(
  handler: Handler,
  options: Partial<GrpcListenOptions> = {},
): Promise<GrpcListening> {
  const one = await listenGrpc(handler, {
    clock: systemClock(),
    random: seededRandom(1),
    port: 0,
    watchIntervalMs: 10,
    directSocket,
    ...options,
  });
  open.push(one);
  return one;
}

/** The real handler over doubles of models. */
export async function openServer(
  models: readonly DoubleModel[] = [doubleModel, mixedModel],
  options: Partial<GrpcListenOptions> = {},
  change: Partial<HandlerParts> = {},
) {
  const clock: Clock = systemClock();
  const endpoint = doubleEndpoint(models, { id: "server" });
  const life = createLife();
  life.ready();
  const handler = createHandler({
    endpoint,
    codecs: codecSet(rawCodec),
    clock,
    observer: { record: () => undefined },
    life,
    ...change,
  });
  const listening = await listenOn(handler, options);
  return { listening, address: listening.address, endpoint, life, handler };
}
