import { type Call, emptyBody, LongshoreError, type WireResponse } from "@longshore/core";
import {
  childCall,
  type IncomingMessage,
  inSteps,
  modelPath,
  type InferReplyMessage,
  type InferRequestMessage,
  turnWhileWanted,
  leastReportedRatio,
  orcaHeader,
  readLoadHeaders,
} from "@longshore/core/internal";
import {
  type AddressedRequest,
  encodeInferReply,
  encodeOrca,
  inferRequestWork,
  orcaJson,
} from "../message/index.ts";
import { ask, type CallContext, failureOf, type Frame, type ServerCall, type ServiceParts } from "./call.ts";
import { beginningOf, inBinary } from "./in-binary.ts";
import { errorOf, type GrpcStatus, ok, statusOf } from "./status.ts";

/** The form of an inference: one message for one answer, or within a stream. */
export interface InferOptions {
  readonly stream: boolean;
  readonly call: Call;
  /** Called with the message when it has been read, before the handler sees it; its result is awaited. */
  readonly arrived?: (message: InferRequestMessage) => Promise<void> | void;
  /** Called when the whole message has come, before the handler sees the last of it; throws if more bytes follow. */
  readonly last?: () => Promise<void>;
}

/** The model that a message is for, read from its beginning; `decoded` if that needed the whole message. */
interface Addressed {
  readonly model: string;
  readonly version: string;
  readonly rawAt: number | undefined;
  readonly head: Uint8Array;
  readonly decoded?: AddressedRequest;
}

/** Shorter messages are here before there is anything to send on. */
const atOnceBytes = 65_536;

function decode(
  bytes: Uint8Array,
  { limits, clock }: ServiceParts,
  { abort }: Call,
): AddressedRequest | Promise<AddressedRequest> {
  return inSteps(inferRequestWork(bytes, limits), () => turnWhileWanted(clock, abort, "decode"));
}

async function addressOf(
  parts: ServiceParts,
  frame: Frame,
  call: Call,
  arriving: Frame["arriving"],
): Promise<Addressed> {
  const { head, peeked } = await beginningOf(parts, frame, arriving);
  const { texts, rawAt } = peeked;
  const model = texts.get(1);
  if (model !== undefined) return { model, version: texts.get(2) ?? "", rawAt, head };
  const decoded = await decode(await frame.read(), parts, call);
  return { model: decoded.model, version: decoded.version, rawAt: undefined, head, decoded };
}

const nothingBehind = async (): Promise<void> => undefined;

/** Puts an inference to the handler, which reads the message when path and headers have been checked. */
export async function askInfer(
  parts: ServiceParts,
  served: CallContext,
  frame: Frame,
  { stream, call, arrived, last = nothingBehind }: InferOptions,
): Promise<WireResponse> {
  const { byteLength } = frame;
  const arriving = !stream && byteLength > atOnceBytes ? frame.arriving : undefined;
  const { model, version, rawAt, head, decoded } = await addressOf(parts, frame, call, arriving);
  if (model === "") {
    throw new LongshoreError("invalid-input", "decode", "model_name must name a model");
  }
  const path = `${modelPath({ model, ...(version === "" ? {} : { version }) })}/infer`;
  const read: IncomingMessage["read"] = async (memory) => {
    const whole = decoded ?? (await decode(await frame.read(rawAt, memory), parts, call));
    if (whole.model !== model || whole.version !== version) {
      throw new LongshoreError(
        "invalid-input",
        "decode",
        "model_name and model_version must be the first fields of a long message, and come once",
      );
    }
    await arrived?.(whole.message);
    await last();
    return whole.message;
  };
  // A sender's mistake ends its own call, and is no failure of the endpoint that the request went on to.
  using passing = arriving && !decoded ? childCall(call) : undefined;
  const message: IncomingMessage = {
    byteLength,
    stream,
    read,
    ...(arriving && passing
      ? {
          binary: inBinary(parts, {
            byteLength,
            chunks: () => arriving.chunks(),
            head,
            model,
            version,
            last,
            broke: passing.cancel,
          }),
        }
      : {}),
  };
  const asked = { method: "POST", path, body: emptyBody, message } as const;
  try {
    return await ask(parts, served, asked, passing?.call ?? call);
  } finally {
    frame.skip();
  }
}

/** The trailer with a load report in ORCA's protobuf. */
const loadTrailer = `${orcaHeader}-bin`;

/** Load in ORCA's form, for balancers inside gRPC clients; `over` of the requests under way will have ended when it is read. */
export function loadTrailers(
  response: Pick<WireResponse, "headers" | "perSecond">,
  nowMs: number,
  over = 0,
): Readonly<Record<string, string>> {
  const load = readLoadHeaders(response.headers, nowMs);
  if (!load) return {};
  const inFlight = Math.max(0, load.inFlight - over);
  const told = { ...load, cpuRatio: Math.max(leastReportedRatio, load.cpuRatio), inFlight };
  return { [loadTrailer]: btoa(String.fromCharCode(...encodeOrca(told, response.perSecond))) };
}

/** The trailers of a server, as HTTP has them as headers. */
export function headersOfTrailers(
  trailers: Readonly<Record<string, unknown>>,
): Readonly<Record<string, string>> {
  const said = trailers[orcaHeader];
  if (typeof said === "string") return { [orcaHeader]: said };
  const encoded = trailers[loadTrailer];
  if (typeof encoded !== "string") return {};
  try {
    return { [orcaHeader]: orcaJson(Uint8Array.from(atob(encoded), (letter) => letter.charCodeAt(0))) };
  } catch {
    // A load report is advice: one that cannot be read is as good as none.
    return {};
  }
}

/** Headers of a reply that describe its body rather than the answer. */
const aboutBody: readonly string[] = ["content-type", "content-length", "inference-header-content-length"];

/** The rest of a reply, as metadata. */
export function metadataOf(response: WireResponse): Readonly<Record<string, string>> {
  const metadata: Record<string, string> = {};
  for (const name in response.headers) {
    const value = response.headers[name];
    if (value !== undefined && !aboutBody.includes(name)) metadata[name] = value;
  }
  return metadata;
}

/** The one message of a reply, or the error that it is instead. */
export async function messageOf(response: WireResponse): Promise<InferReplyMessage> {
  if (response.message) return response.message;
  if (response.status !== 200) throw await errorOf(response);
  throw new LongshoreError(
    "unsupported",
    "execute",
    "the model answers a request any number of times (it is decoupled); use ModelStreamInfer",
  );
}

/** `ModelInfer`. */
export async function modelInfer(parts: ServiceParts, served: ServerCall): Promise<GrpcStatus> {
  const frame = await served.next();
  if (!frame) throw new LongshoreError("invalid-input", "decode", "the call ended without a message");
  const last = async (): Promise<void> => {
    if (await served.next()) {
      throw new LongshoreError("invalid-input", "decode", "ModelInfer takes one message; more than one came");
    }
  };
  const response = await askInfer(parts, served, frame, { stream: false, call: served.call, last });
  const trailers = loadTrailers(response, parts.clock.nowMs());
  try {
    const message = await messageOf(response);
    await served.send(encodeInferReply(message, {}, true), metadataOf(response));
    return { ...ok, trailers };
  } catch (thrown) {
    const status = statusOf(failureOf(parts, thrown, served.call, "answering the request"));
    return { ...status, trailers: { ...trailers, ...status.trailers } };
  }
}
