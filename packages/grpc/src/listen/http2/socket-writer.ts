import type { Socket } from "node:net";
import type { Clock } from "@longshore/core";
import type { UnderWay } from "@longshore/core/internal";

/** Size of the buffer in which short parts are joined for one write. */
const joinedBytes = 65_536;
/** Parts longer than this are written without a copy. */
const partBytes = 8192;
/** Unsent bytes of a connection beyond which nothing more is taken from streams. */
const fullBytes = 2 ** 20;
/** Unsent bytes beyond which no more is read: each request of the client makes more of them. */
const mostBytes = 4 * 2 ** 20;
/** How long a connection that has ended here waits for the client's end. */
const lingerMs = 2000;

/** The parts that the writers of all connections share. */
export interface WriterParts {
  readonly options: {
    readonly clock: Clock;
    /** How long a client may go without reading anything of what waits for it, in milliseconds. */
    readonly replyTimeoutMs: number;
  };
  /** Replies that were written and have not left yet. */
  readonly sending: UnderWay;
  /** Frees memory that is no longer read. */
  readonly release: (bytes: Uint8Array) => void;
}

/** Collects what is sent over a connection in one turn of the event loop, and writes it at once. */
export class SocketWriter {
  readonly #socket: Socket;
  readonly #parts: WriterParts;
  #waiting: (string | Uint8Array)[] = [];
  #bytes = 0;
  /** Freed once what waits has left. */
  #given: Uint8Array[] = [];
  /** The client is waited for. */
  #late = false;

  constructor(socket: Socket, parts: WriterParts, drained: () => void) {
    this.#socket = socket;
    this.#parts = parts;
    socket.on("timeout", () => socket.destroy());
    socket.on("drain", () => {
      this.#late = false;
      socket.setTimeout(0);
      socket.resume();
      drained();
    });
  }

  /** Bytes that have not left yet. */
  get #unsentBytes(): number {
    return this.#bytes + this.#socket.writableLength;
  }

  /** Whether streams may send more. */
  get hasRoom(): boolean {
    return this.#unsentBytes < fullBytes;
  }

  /** Stops reading from a client that does not read its replies, until it does. */
  holdBack(): void {
    if (this.#unsentBytes > mostBytes) this.#socket.pause();
  }

  /** Ends the connection after the waiting bytes, and gives the client a while to read them and to end its half. */
  end(): void {
    this.flush();
    const socket = this.#socket;
    // Bytes that the client still sends do not count as its reading.
    socket.pause();
    const { options, sending } = this.#parts;
    socket.setTimeout(options.replyTimeoutMs);
    let left = (): void => undefined;
    void sending.track(new Promise<void>((resolve) => (left = resolve)));
    socket.end(() => {
      left();
      if (socket.destroyed) return;
      // Unread data would turn the end into a reset, which can overtake the sent bytes.
      socket.resume();
      const timer = options.clock.timer(lingerMs, () => socket.destroy());
      socket.once("close", () => timer[Symbol.dispose]());
    });
  }

  /** @param bytes Text of a byte for each character, or bytes that stay as they are. */
  send(bytes: string | Uint8Array): void {
    if (this.#waiting.length === 0) process.nextTick(this.flush);
    this.#waiting.push(bytes);
    this.#bytes += bytes.length;
  }

  /** Frees memory once what was sent so far has left. */
  freeOnceSent(memory: Uint8Array): void {
    if (memory.byteLength > partBytes) this.#given.push(memory);
  }

  readonly flush = (): void => {
    const waiting = this.#waiting;
    if (waiting.length === 0) return;
    const bytes = this.#bytes;
    const given = this.#given;
    this.#waiting = [];
    this.#bytes = 0;
    if (given.length > 0) this.#given = [];
    const socket = this.#socket;
    if (socket.destroyed || socket.writableEnded) return;
    if (bytes <= joinedBytes) socket.write(joined(waiting, bytes));
    else this.#writeParts(waiting);
    const { release } = this.#parts;
    if (given.length > 0) socket.write("", () => given.forEach(release));
    if (!socket.writableNeedDrain || this.#late) return;
    this.#late = true;
    socket.setTimeout(this.#parts.options.replyTimeoutMs);
  };

  #writeParts(waiting: readonly (string | Uint8Array)[]): void {
    const socket = this.#socket;
    socket.cork();
    let short: (string | Uint8Array)[] = [];
    let shortBytes = 0;
    for (const part of waiting) {
      if (part.length <= partBytes) {
        short.push(part);
        shortBytes += part.length;
        continue;
      }
      if (shortBytes > 0) socket.write(joined(short, shortBytes));
      short = [];
      shortBytes = 0;
      // Texts are short.
      socket.write(part);
    }
    if (shortBytes > 0) socket.write(joined(short, shortBytes));
    socket.uncork();
  }
}

function joined(parts: readonly (string | Uint8Array)[], bytes: number): Uint8Array {
  const whole = Buffer.allocUnsafe(bytes);
  let at = 0;
  for (const part of parts) {
    if (typeof part === "string") whole.write(part, at, "latin1");
    else whole.set(part, at);
    at += part.length;
  }
  return whole;
}
