import { LongshoreError } from "@longshore/core";
import { Cursor, wireTypes } from "../message/index.ts";

/*
 * A gateway that routes gRPC sees a method in the path, and the model in the first fields of the first message. So the beginning of the
 * body is enough, and what is not known by then is not worth more memory: encoders write fields in the order of their numbers.
 */

const service = "/inference.GRPCInferenceService/";
const health = "/grpc.health.v1.Health/";

/** The purpose of a method, as far as its endpoint depends on it. */
export type GrpcMethodKind =
  /** An inference: its model decides. */
  | "infer"
  /** A question about a model. */
  | "about-model"
  /** A question that any server answers. */
  | "about-server";

const kinds: ReadonlyMap<string, GrpcMethodKind> = new Map<string, GrpcMethodKind>([
  [`${service}ModelInfer`, "infer"],
  [`${service}ModelStreamInfer`, "infer"],
  [`${service}ModelReady`, "about-model"],
  [`${service}ModelMetadata`, "about-model"],
  [`${service}ModelConfig`, "about-model"],
  [`${service}ModelStatistics`, "about-server"],
  [`${service}ServerLive`, "about-server"],
  [`${service}ServerReady`, "about-server"],
  [`${service}ServerMetadata`, "about-server"],
  [`${service}RepositoryIndex`, "about-server"],
  [`${health}Check`, "about-server"],
  [`${health}Watch`, "about-server"],
]);

/** The path of the method that holds a stream of requests. */
export const streamInferPath: string = `${service}ModelStreamInfer`;

/** Throws `unsupported` for methods that change one server, and for other services. */
export function grpcMethodKind(path: string): GrpcMethodKind {
  const kind = kinds.get(path);
  if (kind !== undefined) return kind;
  const why = path.startsWith(service)
    ? "this method is for one server, and a picker chooses any; call that server"
    : "there is no such method here";
  throw new LongshoreError("unsupported", "admission", why);
}

/** The model that a request names. */
export interface GrpcModel {
  readonly model: string;
  /** Empty if it names none. */
  readonly version: string;
  /** Of the whole message. */
  readonly byteLength: number;
}

const prefixBytes = 5;
const mostNameBytes = 1024;

function invalid(why: string): LongshoreError {
  return new LongshoreError("invalid-input", "decode", why);
}

/**
 * The model of the first message of a call (model and version are fields 1 and 2 of each request of the protocol), from the beginning of
 * its body. Undefined if the beginning is too short.
 *
 * @param whole No more bytes come.
 * @throws `invalid-input` for bytes that are no such message, `unsupported` for a compressed one.
 */
export function grpcModelOf(head: Uint8Array, whole: boolean): GrpcModel | undefined {
  const more = (why: string): undefined => {
    if (whole) throw invalid(why);
  };
  if (head.byteLength < prefixBytes) return more("the call ended without a message");
  if (head[0] !== 0) {
    const why = "the message is compressed; name its model in the header longshore-model";
    throw new LongshoreError("unsupported", "decode", why);
  }
  const view = new DataView(head.buffer, head.byteOffset);
  const byteLength = view.getUint32(1);
  const end = Math.min(head.byteLength, prefixBytes + byteLength);
  const isComplete = end === prefixBytes + byteLength;
  const fields = new Cursor(head.subarray(prefixBytes, end));
  let model: string | undefined;
  let version: string | undefined;
  try {
    while (fields.field()) {
      if (fields.number > 2) break;
      if (fields.wireType !== wireTypes.length) throw invalid("model_name and model_version must be texts");
      const text = fields.text(mostNameBytes, "the name of a model");
      if (fields.number === 1) model = text;
      else version = text;
    }
  } catch (thrown) {
    // A field that is cut off cannot be told from a broken one before all of it is there.
    if (isComplete || whole) throw thrown;
    return undefined;
  }
  const isPast = fields.at < end - prefixBytes || isComplete;
  if (model !== undefined && isPast) return { model, version: version ?? "", byteLength };
  if (isPast) throw invalid("model_name must be the first field of the message");
  return more("the message ended before the name of its model");
}
