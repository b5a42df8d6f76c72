import {
  type BodyOptions,
  give,
  LongshoreError,
  type ModelDescription,
  readBody,
  type Tensors,
  type WireForm,
} from "@longshore/core";
import {
  type BodyCheck,
  bodyCheck,
  bodyLength,
  checksumAfter,
  checksumHeader,
  followedCheck,
  bodyOf,
  headerLengthOf,
  type IncomingMessage,
  type InferRequestMessage,
  type KeptBody,
  keptBody,
  readInferHeadInSteps,
  readInferRequestInSteps,
  readParts,
  type StreamBody,
  turnWhileWanted,
  withoutChecksum,
  type Writable,
} from "@longshore/core/internal";
import {
  type BodyPool,
  type BudgetShare,
  rawInput,
  rawLead,
  rawRequest,
  worthKeepingBytes,
} from "../../body/index.ts";
import { acknowledging } from "../acknowledging.ts";
import type { Api, IncomingRequest } from "../parts.ts";

/** The part of the API that reads bodies. */
type Reading = Pick<Api, "clock" | "bodies">;

/** Bytes reserved for a body beyond those that have arrived. */
const ahead = 262_144;

/** Shorter bodies are read before any other work: usually they have already arrived. */
const atOnceBytes = 65_536;

function tooLarge(maxBytes: number): LongshoreError {
  const message = `the body has more than the ${maxBytes} bytes that are allowed`;
  return new LongshoreError("body-too-large", "transport", message);
}

/** A message and the memory of its body. Dispose it once the inputs are no longer needed. */
export interface Received extends Disposable {
  readonly message: InferRequestMessage;
  /** Whether the body was raw. */
  readonly raw: boolean;
  /** Gives the inputs away to an endpoint that forgets them. Inputs in reused memory are given with all of it. */
  give(inputs: Tensors): Tensors;
  /** The body as it came, if it has binary data and came over HTTP. */
  readonly form?: WireForm;
  /** Reads the rest if inputs are still arriving: the message with all of them. */
  rest?(): Promise<InferRequestMessage>;
  /** When the last byte arrived; undefined before that, and if the body was read before the message was. */
  readonly completeMs?: number | undefined;
  /** The inputs are no longer needed: their memory is reused, and existing views on it become empty. */
  recycle(): void;
}

class Arrived implements Received {
  readonly message: InferRequestMessage;
  readonly raw: boolean;
  readonly form?: WireForm;
  readonly #held: BudgetShare;
  readonly #memory: ArrayBufferLike | undefined;
  readonly #pool: BodyPool;

  /** @param memory Taken from the pool, to be returned there. */
  constructor(
    held: BudgetShare,
    message: InferRequestMessage,
    raw: boolean,
    pool: BodyPool,
    memory?: ArrayBufferLike,
    form?: WireForm,
  ) {
    if (form) this.form = form;
    this.#held = held;
    this.message = message;
    this.raw = raw;
    this.#pool = pool;
    this.#memory = memory;
  }

  give(inputs: Tensors): Tensors {
    const [only] = inputs;
    // Of several inputs in one buffer, none can be moved by itself.
    if (!only || inputs.size > 1 || only[1].bytes.buffer !== this.#memory) return inputs;
    return new Map([[only[0], give(only[1], this.#pool.give)]]);
  }

  recycle(): void {
    if (this.#memory) this.#pool.give(this.#memory);
  }

  [Symbol.dispose](): void {
    this.#held[Symbol.dispose]();
  }
}

/** A message with only its JSON read. */
class Arriving implements Received {
  readonly message: InferRequestMessage;
  readonly raw = false;
  readonly form: WireForm;
  completeMs: number | undefined;
  readonly #held: BudgetShare;
  readonly #kept: KeptBody;
  readonly #maxKeptBytes: number;
  readonly #read: (buffer: Uint8Array) => InferRequestMessage | Promise<InferRequestMessage>;
  readonly #headerLength: number;

  constructor(
    held: BudgetShare,
    kept: KeptBody,
    maxKeptBytes: number,
    message: InferRequestMessage,
    headerLength: number,
    read: (buffer: Uint8Array) => InferRequestMessage | Promise<InferRequestMessage>,
    check: BodyCheck | undefined,
  ) {
    this.#held = held;
    this.#kept = kept;
    this.#maxKeptBytes = maxKeptBytes;
    this.#read = read;
    this.#headerLength = headerLength;
    this.message = message;
    this.form = {
      headerLength,
      body: kept,
      ...(check ? { crc32: check.crc32 } : {}),
    };
  }

  async rest(): Promise<InferRequestMessage> {
    const { byteLength: maxBytes } = this.#kept;
    // The whole body lies in one buffer, beside the bytes kept for another reader.
    this.#held.grow(maxBytes + Math.min(maxBytes, this.#maxKeptBytes));
    return this.#read(await this.#kept.whole({ maxBytes, headerLength: this.#headerLength }));
  }

  give(inputs: Tensors): Tensors {
    return inputs;
  }

  recycle(): void {
    // The listener owns its memory.
  }

  [Symbol.dispose](): void {
    this.#kept[Symbol.dispose]();
    this.#held[Symbol.dispose]();
  }
}

/** A message that its listener parses. The listener has its own limit on the length. */
async function receiveMessage(
  { bodies: { budget, pool } }: Reading,
  message: IncomingMessage,
): Promise<Received> {
  const held = budget.reserve(message.byteLength);
  try {
    let memory: ArrayBuffer | undefined;
    const take = (byteLength: number): ArrayBuffer => (memory = pool.take(byteLength));
    const read = await message.read(message.byteLength < worthKeepingBytes ? undefined : take);
    return new Arrived(held, read, false, pool, memory);
  } catch (thrown) {
    held[Symbol.dispose]();
    throw thrown;
  }
}

/** A pause while a request is read. It throws if the sender has left. */
function pauseOf({ clock }: Reading, { call }: IncomingRequest): () => Promise<void> {
  return () => turnWhileWanted(clock, call.abort, "decode");
}

/** The checksum in the header of a body over HTTP; undefined if its sender stated none. */
function checkOf({ bodies: { crc32 } }: Reading, { request }: IncomingRequest): BodyCheck | undefined {
  return request.message || isFollowed(request) ? undefined : bodyCheck(request.headers, whatBody, crc32);
}

const whatBody = "the body of the request";

/** Whether the digits of the checksum follow the body. */
const isFollowed = ({ headers }: IncomingRequest["request"]): boolean =>
  headers[checksumHeader] === checksumAfter;

/** Reads the JSON of a message that may be forwarded. The rest is kept as it arrives. */
async function receiveHead(
  api: Reading,
  incoming: IncomingRequest,
  body: StreamBody,
  length: number,
  headerLength: number,
): Promise<Received> {
  const { limits, budget, heads, maxKeptBytes } = api.bodies;
  if (length > limits.maxBodyBytes) throw tooLarge(limits.maxBodyBytes);
  budget.check(Math.min(length, maxKeptBytes + ahead));
  const acknowledge = acknowledging(incoming, length);
  const pause = pauseOf(api, incoming);
  let arriving: Arriving | undefined;
  const check = checkOf(api, incoming);
  // Each call that may throw comes before it or within `try`.
  const held = budget.reserve(Math.min(length, ahead));
  const kept = keptBody(body, length, {
    maxKeptBytes,
    check,
    arrived(bytes) {
      held.grow(Math.min(length, maxKeptBytes + ahead, bytes + ahead));
      if (bytes === length && arriving) arriving.completeMs = api.clock.nowMs();
      acknowledge?.(bytes);
    },
  });
  try {
    const head = await kept.first(headerLength);
    const reading = readInferHeadInSteps(head, length - headerLength, limits, pause, heads);
    const message = reading instanceof Promise ? await reading : reading;
    const read = (buffer: Uint8Array): InferRequestMessage | Promise<InferRequestMessage> =>
      readInferRequestInSteps(buffer, headerLength, limits, pause, heads);
    arriving = new Arriving(held, kept, maxKeptBytes, message, headerLength, read, check);
    return arriving;
  } catch (thrown) {
    kept[Symbol.dispose]();
    held[Symbol.dispose]();
    throw thrown;
  }
}

/**
 * Reads and parses the body of an inference request, within the limits and the server's budget. For a long one that may be forwarded, it
 * reads only the JSON. Synchronous if the whole body is here and short.
 */
export function receive(
  api: Reading,
  incoming: IncomingRequest,
  description: ModelDescription,
  sentOn: boolean,
): Received | Promise<Received> {
  const { request } = incoming;
  const { limits, budget, pool, heads } = api.bodies;
  const { message } = request;
  const binary = sentOn ? message?.binary?.() : undefined;
  if (binary) return receiveHead(api, incoming, binary.body, binary.body.byteLength, binary.headerLength);
  if (message) return receiveMessage(api, message);
  const { body } = request;
  const length = bodyLength(body);
  const headerLength = headerLengthOf(request.headers);
  const followed = isFollowed(request) ? followedCheck(length, api.bodies.crc32, whatBody) : undefined;
  if (sentOn && headerLength && length && length > atOnceBytes && body.kind === "stream") {
    if (!followed) return receiveHead(api, incoming, body, length, headerLength);
    return receiveHead(api, incoming, withoutChecksum(body, followed), followed.byteLength, headerLength);
  }
  const raw = headerLength === 0;
  const input = raw ? rawInput(description) : undefined;
  const lead = input ? rawLead(input) : 0;
  // A body that does not fit now is refused at its start. But the reservation grows with the bytes that arrive. Otherwise a few senders
  // that announce much and send little would keep all others out.
  const maxBytes = limits.maxBodyBytes + (followed ? (length ?? 0) - followed.byteLength : 0);
  const most = Math.min(length ?? maxBytes, maxBytes);
  if (length !== undefined && most > ahead) budget.check(most);
  const check = checkOf(api, incoming);
  const tell = acknowledging(incoming, length);
  const pause = pauseOf(api, incoming);
  const held = budget.reserve(Math.min(most, ahead));
  /** Taken from the pool. */
  let kept: ArrayBuffer | undefined;
  const whole = (message: InferRequestMessage, buffer: Uint8Array): Received => {
    const form = sentOn && headerLength ? wireForm(headerLength, buffer, check) : undefined;
    return new Arrived(held, message, raw, pool, kept, form);
  };
  const parsed = (bytes: Uint8Array): Received | Promise<Received> => {
    const buffer = followed ? bytes.subarray(0, lead + followed.byteLength) : bytes;
    const reading = input
      ? rawRequest(buffer, input, description)
      : readInferRequestInSteps(buffer, headerLength, limits, pause, heads);
    return reading instanceof Promise ? reading.then((read) => whole(read, buffer)) : whole(reading, buffer);
  };
  const failed = (thrown: unknown): never => {
    held[Symbol.dispose]();
    throw thrown;
  };
  try {
    // Fields are assigned one by one, since this runs for every small request.
    const reads: Writable<BodyOptions> = {
      maxBytes,
      headerLength: headerLength ?? 0,
      lead,
      check: check ?? followed,
    };
    if (tell || most > ahead)
      reads.arrived = (bytes) => {
        held.grow(Math.min(most, bytes + ahead));
        tell?.(bytes);
      };
    if (length !== undefined && length >= worthKeepingBytes)
      reads.memory = (byteLength) => (kept = pool.take(byteLength));
    else reads.pause = pause;
    const received =
      body.kind === "parts" ? parsed(readParts(body, reads)) : readBody(body, reads).then(parsed);
    return received instanceof Promise ? received.catch(failed) : received;
  } catch (thrown) {
    return failed(thrown);
  }
}

/** A whole body in the form in which it came. */
function wireForm(headerLength: number, buffer: Uint8Array, check: BodyCheck | undefined): WireForm {
  const form: Writable<WireForm> = { headerLength, body: bodyOf(buffer) };
  if (check) form.crc32 = check.crc32;
  return form;
}
