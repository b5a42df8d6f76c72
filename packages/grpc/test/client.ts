/** gRPC's own client for Node.js, with messages by the generated schemas: nothing of the code under test is in it. */
import {
  type CallOptions,
  type ChannelCredentials,
  Client,
  type ClientDuplexStream,
  type ClientReadableStream,
  credentials,
  Metadata,
  type ServiceError,
} from "@grpc/grpc-js";
import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import {
  HealthCheckRequestSchema,
  HealthCheckResponseSchema,
  type HealthCheckResponse,
} from "../src/proto/health_pb.ts";
import {
  ModelInferRequestSchema,
  type ModelInferRequest,
  type ModelInferResponse,
  ModelInferResponseSchema,
  type ModelStreamInferResponse,
  ModelStreamInferResponseSchema,
} from "../src/proto/inference_pb.ts";

const service = "/inference.GRPCInferenceService";

/** The result of a call: its message, and the metadata before and after it. */
export interface Answered<M> {
  readonly message: M;
  readonly metadata: Metadata;
  readonly trailers: Metadata;
}

export type InferInit = Exclude<MessageInitShape<typeof ModelInferRequestSchema>, ModelInferRequest>;

/** FP32 values as raw contents. */
export function raw(values: readonly number[]): Uint8Array {
  return new Uint8Array(Float32Array.from(values).buffer);
}

/** The values of a reply's first output. */
export function valuesOf(reply: ModelInferResponse | undefined, index = 0): readonly number[] {
  const bytes = reply?.rawOutputContents[index] ?? new Uint8Array(0);
  // Copied: a slice of a Buffer shares the pool that it lies in.
  return [...new Float32Array(new Uint8Array(bytes).buffer)];
}

/** A request of the model `double`. */
export function doubling(values: readonly number[], change: InferInit = {}): InferInit {
  return {
    modelName: "double",
    inputs: [{ name: "x", datatype: "FP32", shape: [1n, BigInt(values.length)] }],
    rawInputContents: [raw(values)],
    ...change,
  };
}

/** Metadata of names and values. */
export function metadata(values: Readonly<Record<string, string>>): Metadata {
  const made = new Metadata();
  for (const [name, value] of Object.entries(values)) made.set(name, value);
  return made;
}

/** A client of one server. */
export function connect(
  address: string,
  secure: ChannelCredentials = credentials.createInsecure(),
  options: object = {},
) {
  const client = new Client(address, secure, {
    "grpc.max_receive_message_length": -1,
    "grpc.max_send_message_length": -1,
    "grpc.enable_retries": 0,
    // Each client has connections of its own.
    "grpc.use_local_subchannel_pool": 1,
    ...options,
  });
  const call = <Q extends DescMessage, R extends DescMessage>(
    path: string,
    request: Q,
    reply: R,
    init: MessageInitShape<Q>,
    given: Metadata = new Metadata(),
    callOptions: CallOptions = {},
  ): Promise<Answered<MessageShape<R>>> =>
    new Promise((resolve, reject) => {
      let before = new Metadata();
      let after = new Metadata();
      const serialize = (message: MessageShape<Q>): Buffer => Buffer.from(toBinary(request, message));
      const deserialize = (bytes: Buffer): MessageShape<R> => fromBinary(reply, bytes);
      client
        .makeUnaryRequest(
          path,
          serialize,
          deserialize,
          create(request, init),
          given,
          callOptions,
          (error, message) => {
            // The status follows in the same turn; readers of the trailers have to see it.
            if (error) reject(error);
            else if (message) setImmediate(() => resolve({ message, metadata: before, trailers: after }));
          },
        )
        .on("metadata", (told) => (before = told))
        .on("status", (status) => (after = status.metadata));
    });
  return {
    client,
    close: () => client.close(),
    call,
    /** A method of the inference service by its name. */
    ask: <Q extends DescMessage, R extends DescMessage>(
      method: string,
      request: Q,
      reply: R,
      init: MessageInitShape<Q>,
      given?: Metadata,
    ) => call(`${service}/${method}`, request, reply, init, given),
    infer: (init: InferInit, given?: Metadata, options?: CallOptions) =>
      call(`${service}/ModelInfer`, ModelInferRequestSchema, ModelInferResponseSchema, init, given, options),
    stream(given: Metadata = new Metadata(), options: CallOptions = {}): InferStream {
      return client.makeBidiStreamRequest(
        `${service}/ModelStreamInfer`,
        (message: ModelInferRequest) => Buffer.from(toBinary(ModelInferRequestSchema, message)),
        (bytes: Buffer) => fromBinary(ModelStreamInferResponseSchema, bytes),
        given,
        options,
      );
    },
    watch(name: string): ClientReadableStream<HealthCheckResponse> {
      return client.makeServerStreamRequest(
        "/grpc.health.v1.Health/Watch",
        (message: MessageShape<typeof HealthCheckRequestSchema>) =>
          Buffer.from(toBinary(HealthCheckRequestSchema, message)),
        (bytes: Buffer) => fromBinary(HealthCheckResponseSchema, bytes),
        create(HealthCheckRequestSchema, { service: name }),
      );
    },
  };
}

export type InferStream = ClientDuplexStream<ModelInferRequest, ModelStreamInferResponse>;

/** Sends a request into a stream. */
export function put(stream: InferStream, init: InferInit): void {
  stream.write(create(ModelInferRequestSchema, init));
}

/** All messages of a stream until it ends, and how it ended. */
export function gather<M>(
  stream: ClientReadableStream<M> | ClientDuplexStream<unknown, M>,
): Promise<{ readonly messages: readonly M[]; readonly code: number; readonly details: string }> {
  return new Promise((resolve) => {
    const messages: M[] = [];
    stream.on("data", (message: M) => messages.push(message));
    stream.on("error", () => undefined);
    stream.on("status", ({ code, details }) => resolve({ messages, code, details }));
  });
}

/** The error of a call that must fail. */
export async function failure(work: Promise<unknown>): Promise<ServiceError> {
  try {
    await work;
  } catch (thrown) {
    return thrown as ServiceError;
  }
  throw new Error("the call was not refused");
}
