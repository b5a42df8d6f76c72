/**
 * The body of a message on its way.
 *
 * Three kinds of body look alike to their readers. A *whole* one is here. An *arriving* one comes from a connection, which
 * waits for its reader; it can be read once. A *kept* one arrives too, but stays here as it comes, so that it can be sent to a
 * second endpoint when the first fails.
 *
 * Every body can be read whole (`readBody`) and sent on while it arrives (`chunksOf`). It tells how long it is (`bodyLength`),
 * whether all of it is here (`isUnderWay`), and whether it can be sent (again) from its first byte (`canBegin`). `watched`
 * tells of each chunk and of the end. `ArrivingBody` makes a body of what a connection hands in, and `keptBody` keeps one,
 * within a bound.
 */

/** A body that is here: its parts are sent one after another and never joined first. */
export interface WholeBody {
  readonly kind: "parts";
  readonly parts: readonly Uint8Array[];
  /** The parts are not read after they were sent, so their memory may be freed at once. Default: they may be read. */
  readonly given?: true;
  /** No other code reads or writes the parts, so their reader need not copy them. Default: other code may. */
  readonly own?: true;
}

/** A body that is still arriving, or was when it was made. */
export interface StreamBody {
  readonly kind: "stream";
  /** Undefined until it is known. */
  readonly byteLength: number | undefined;
  /** The reader of a chunk has finished with it when it requests the next one. */
  read(): AsyncIterable<Uint8Array>;
  /**
   * The reader owns the chunks of `read`. It frees the memory of a chunk with this once the chunk is no longer read, or leaves
   * it to the garbage collector. Absent: the chunks are lent.
   */
  free?(chunk: Uint8Array): void;
  /**
   * Instead of `read`, for a reader with memory for all of it: hands over each chunk as it comes, without waiting in between. A
   * chunk is the reader's only until `take` returns: its memory may be freed then.
   * Resolves after the last one; rejects with what `read` throws, or with what `take` throws. Absent where `read` is as
   * good.
   */
  each?(take: (chunk: Uint8Array) => void): Promise<void>;
  /**
   * The same for a reader that can `take` memory of exactly `byteLength` bytes, once some are here, to be filled by the
   * connection itself where that can be. `arrived` gets the number of bytes so far, in all. No other code may read or move the
   * memory before all of it is filled: a connection may write to it until then, also after a failure.
   */
  into?(take: () => Uint8Array, arrived?: (bytes: number) => void): Promise<void>;
  /** Of a kept body: whether the last byte has come. Absent: it is not known. */
  readonly complete?: boolean;
  /** Of a kept body: whether another reader can begin now. Absent: it can be read once. */
  readonly again?: boolean;
}

/** A body, however much of it has arrived. */
export type WireBody = WholeBody | StreamBody;

/** No body. */
export const emptyBody: WholeBody = { kind: "parts", parts: [] };

/** A body of these bytes. */
export function bodyOf(...parts: readonly Uint8Array[]): WholeBody {
  return { kind: "parts", parts };
}

/** The length that a body announces; undefined while it is unknown. */
export function bodyLength(body: WireBody): number | undefined {
  if (body.kind === "stream") return body.byteLength;
  let length = 0;
  for (const part of body.parts) length += part.byteLength;
  return length;
}

/** The chunks of a body, to send them on. */
export async function* chunksOf(body: WireBody): AsyncIterable<Uint8Array> {
  yield* body.kind === "parts" ? body.parts : body.read();
}

/** Whether some of a body may still be on its way here. */
export function isUnderWay(body: WireBody): boolean {
  return body.kind === "stream" && body.complete !== true;
}

/** Whether a reader can begin at the first byte, as far as is known: a kept body that grew too long says no. */
export function canBegin(body: WireBody): boolean {
  return body.kind === "parts" || body.again !== false;
}

/** Callbacks on the reading of a body. */
export interface BodyWatch<T = Uint8Array> {
  /** Called with each chunk before its reader gets it. An error that it throws ends the body for the reader. */
  chunk?(chunk: T): void;
  /** Called after the last chunk, before the reader knows that it was the last. The reader gets an error that it throws. */
  complete?(): void;
  /** Called when reading ends: after the last chunk, a failure, or the reader's departure. */
  over?(): void;
}

/** The same body, which tells of its reading. It is read by `read` alone, so that nothing passes unseen. */
export function watched(body: StreamBody, watch: BodyWatch): StreamBody {
  const read = (): AsyncIterable<Uint8Array> => watchedChunks(body.read(), watch);
  const free = body.free?.bind(body);
  return { kind: "stream", byteLength: body.byteLength, read, ...(free ? { free } : {}) };
}

/** `watched`, of chunks of any kind. */
export async function* watchedChunks<T>(chunks: AsyncIterable<T>, watch: BodyWatch<T>): AsyncIterable<T> {
  try {
    for await (const chunk of chunks) {
      watch.chunk?.(chunk);
      yield chunk;
    }
    watch.complete?.();
  } finally {
    watch.over?.();
  }
}
