import { allSteps, inSteps, LongshoreError, steppedCopy } from "../../words/base/index.ts";
import type { BodyCheck } from "../protocol/index.ts";
import { bodyLength, type StreamBody, type WholeBody, type WireBody } from "./body.ts";

/** How a body is read. */
export interface BodyOptions {
  /** More bytes than this are refused, before they are buffered. */
  readonly maxBytes: number;
  /** Bytes of JSON before the binary tensors: the buffer is laid out so that what follows is aligned to 8 bytes. */
  readonly headerLength?: number;
  /** Free bytes to leave before the body, for a prefix that the reader will add. */
  readonly lead?: number;
  /** Told the bytes that have arrived, in all, after each chunk. */
  readonly arrived?: (bytes: number) => void;
  /**
   * Gives memory of exactly this many bytes for a body of known length. It may hold any bytes: all of it is written before it
   * is read. Default: fresh memory.
   */
  readonly memory?: (byteLength: number) => ArrayBuffer;
  /** Gets every byte as it comes and is finished after the last one, before the reader has any. Its error is the reader's. */
  readonly check?: Pick<BodyCheck, "add" | "finish"> | undefined;
  /** Between the steps in which a long body of unknown length is put together. Default: that is done at once. */
  readonly pause?: () => Promise<void>;
}

function tooLarge(maxBytes: number): LongshoreError {
  const message = `the body has more than the ${maxBytes} bytes that are allowed`;
  return new LongshoreError("body-too-large", "transport", message);
}

/** The error for a body whose length differs from the announced one. */
export function mismatch(announced: number, came: number): LongshoreError {
  const rest = came > announced ? "more came" : `${came} came`;
  const message = `a body of ${announced} bytes was announced, but ${rest}`;
  return new LongshoreError("body-mismatch", "transport", message);
}

/** A buffer in which byte `lead + headerLength` lies at a multiple of 8. */
function aligned(
  length: number,
  { headerLength = 0, lead = 0, memory }: Pick<BodyOptions, "headerLength" | "lead" | "memory">,
): Uint8Array {
  const shift = (8 - ((lead + headerLength) % 8)) % 8;
  if (!memory) return new Uint8Array(new ArrayBuffer(shift + lead + length), shift);
  const all = new Uint8Array(memory(shift + lead + length));
  // The part that no byte of the body fills.
  return all.fill(0, 0, shift + lead).subarray(shift);
}

/**
 * The same as `readBody` of a body that is here, at once: without a copy, where it may be kept and lies as it should. Throws
 * `body-too-large`.
 */
export function readParts({ parts, own }: WholeBody, options: BodyOptions): Uint8Array {
  const length = parts.reduce((total, part) => total + part.byteLength, 0);
  if (length > options.maxBytes) throw tooLarge(options.maxBytes);
  const [only] = parts;
  const { headerLength = 0, lead = 0, arrived, check } = options;
  if (check) {
    for (const part of parts) check.add(part);
    check.finish();
  }
  if (only && own && parts.length === 1 && lead === 0 && (only.byteOffset + headerLength) % 8 === 0) {
    arrived?.(length);
    return only;
  }
  const buffer = aligned(length, options);
  let offset = 0;
  for (const part of parts) {
    buffer.set(part, lead + offset);
    offset += part.byteLength;
    arrived?.(offset);
  }
  return buffer;
}

async function readKnown(body: StreamBody, length: number, options: BodyOptions): Promise<Uint8Array> {
  const { lead = 0, arrived, check } = options;
  let taken: Uint8Array | undefined;
  const all = (): Uint8Array => (taken ??= aligned(length, options));
  let offset = 0;
  const take = (chunk: Uint8Array): void => {
    if (offset + chunk.byteLength > length) throw mismatch(length, offset + chunk.byteLength);
    all().set(chunk, lead + offset);
    offset += chunk.byteLength;
    check?.add(chunk);
    arrived?.(offset);
  };
  let checked = 0;
  /** Reads the checksum's share of each piece while the next one is on its way. Before memory is taken, pieces lie elsewhere. */
  const filled = (total: number): void => {
    if (check && taken) {
      check.add(taken.subarray(lead + checked, lead + total));
      checked = total;
    }
    arrived?.(total);
  };
  if (body.into) await body.into(() => all().subarray(lead), check ? filled : arrived);
  else if (body.each) await body.each(take);
  else for await (const chunk of body.read()) take(chunk);
  if (!body.into && offset !== length) throw mismatch(length, offset);
  if (body.into && checked < length) check?.add(all().subarray(lead + checked));
  check?.finish();
  return all();
}

async function readUnknown(body: StreamBody, options: BodyOptions): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of body.read()) {
    length += chunk.byteLength;
    if (length > options.maxBytes) throw tooLarge(options.maxBytes);
    chunks.push(chunk);
    options.check?.add(chunk);
    options.arrived?.(length);
  }
  options.check?.finish();
  const { headerLength = 0, lead = 0, pause } = options;
  const buffer = aligned(length, { headerLength, lead });
  const work = join(buffer, lead, chunks);
  if (pause) await inSteps(work, pause);
  else allSteps(work);
  return buffer;
}

function* join(buffer: Uint8Array, lead: number, chunks: readonly Uint8Array[]): Generator<void, void> {
  const copy = steppedCopy();
  let offset = lead;
  for (const chunk of chunks) {
    yield* copy(buffer, offset, chunk);
    offset += chunk.byteLength;
  }
}

/**
 * All bytes of a body in one buffer, `lead` free bytes before them: a new one, unless the body is its reader's own and lies as it
 * should. Throws `body-too-large` before buffering more than allowed, `body-mismatch` when the announced length is not what
 * came, and what the stream throws.
 */
export async function readBody(body: WireBody, options: BodyOptions): Promise<Uint8Array> {
  if (body.kind === "parts") return readParts(body, options);
  const length = bodyLength(body);
  if (length !== undefined && length > options.maxBytes) throw tooLarge(options.maxBytes);
  return length === undefined ? readUnknown(body, options) : readKnown(body, length, options);
}
