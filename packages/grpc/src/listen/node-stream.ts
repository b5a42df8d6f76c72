import type { ServerHttp2Stream } from "node:http2";
import { noHeaders } from "@longshore/core/internal";
import type { Peer } from "@longshore/core";
import { codes } from "./http2/index.ts";
import type { Parts } from "../message/index.ts";
import { type CallHead, callHead, type CallStream, type StreamEvents } from "./call-stream.ts";

/** Parts up to this size go out as one write. */
const joinedBytes = 16_384;

/** Replies have no `date`, which gRPC does not use. Node.js has the option `sendDate`, its types do not. */
const withTrailers = { waitForTrailers: true, sendDate: false };
const headersOnly = { endStream: true, sendDate: false };

/**
 * The head of a call from Node.js's list of names and values. Its table of headers drops all but the first of some that come twice; a
 * proxy may have gone by the last. Values are joined instead, and no credential survives that.
 */
function headOf(rawHeaders: readonly string[]): CallHead {
  const joined = noHeaders();
  for (let at = 0; at < rawHeaders.length; at += 2) {
    const name = rawHeaders[at] ?? "";
    const value = rawHeaders[at + 1] ?? "";
    const before = joined[name];
    joined[name] = before === undefined ? value : `${before}${name === "cookie" ? "; " : ", "}${value}`;
  }
  return callHead(joined);
}

/** A call on a connection that Node.js frames. */
export class NodeStream implements CallStream {
  readonly head: CallHead;
  readonly peer: Peer;
  readonly #stream: ServerHttp2Stream;
  #trailers: Readonly<Record<string, string>> | undefined;

  constructor(stream: ServerHttp2Stream, rawHeaders: readonly string[], peer: Peer) {
    this.#stream = stream;
    this.head = headOf(rawHeaders);
    this.peer = peer;
    // Without a listener, a stream that breaks would end the process.
    stream.on("error", () => undefined);
  }

  listen(events: StreamEvents): void {
    let over = false;
    // A reset ends the writing half as if all had been written, so `aborted` is listened to as well.
    const closed = (): void => {
      if (over) return;
      over = true;
      events.closed();
    };
    this.#stream
      .on("data", (chunk: Uint8Array) => {
        if (!over) events.data(chunk);
      })
      .on("end", () => {
        if (!over) events.end();
      })
      .on("drain", () => events.room())
      .on("aborted", closed)
      .on("close", closed);
  }

  pause(): void {
    this.#stream.pause();
  }

  resume(): void {
    this.#stream.resume();
  }

  get paused(): boolean {
    return this.#stream.isPaused();
  }

  get ended(): boolean {
    return this.#stream.readableEnded;
  }

  get closed(): boolean {
    return this.#stream.destroyed || this.#stream.closed;
  }

  get begun(): boolean {
    return this.#stream.headersSent;
  }

  get unsentBytes(): number {
    return this.#stream.writableLength;
  }

  begin(headers: Readonly<Record<string, string>>, status = 200): void {
    const stream = this.#stream;
    stream.respond({ ":status": status, ...headers }, withTrailers);
    stream.on("wantTrailers", () => {
      if (this.#trailers) stream.sendTrailers(this.#trailers);
      else stream.close(codes.internal);
    });
  }

  write(bytes: Parts): boolean {
    return this.#write(bytes, false);
  }

  #write({ parts, byteLength }: Parts, last: boolean): boolean {
    const stream = this.#stream;
    if (byteLength <= joinedBytes) {
      const whole = Buffer.concat(parts, byteLength);
      if (last) stream.end(whole);
      return last || stream.write(whole);
    }
    stream.cork();
    let room = true;
    for (const part of parts) room = stream.write(part) && room;
    if (last) stream.end();
    stream.uncork();
    return room;
  }

  end(trailers: Readonly<Record<string, string>>, last?: Parts): void {
    this.#trailers = trailers;
    if (last) this.#write(last, true);
    else this.#stream.end();
  }

  answer(status: number, headers: Readonly<Record<string, string>>): void {
    this.#stream.respond({ ":status": status, ...headers }, headersOnly);
  }

  reset(code: number): void {
    this.#stream.close(code);
  }
}
