import type { IncomingHttpHeaders, ServerHttp2Stream } from "node:http2";
import { noHeaders, type Peer } from "@longshore/core";
import { codes } from "../http2/index.ts";
import type { Parts } from "../message/index.ts";
import { type CallHead, callHead, type CallStream, type StreamEvents } from "./call-stream.ts";

/** Parts up to this size go out as one write. */
const joinedBytes = 16_384;

/**
 * Node.js drops all but the first of some headers that come twice. A proxy may have gone by the last: credentials are
 * joined instead, which no credential survives.
 */
function allAuthorizations(rawHeaders: readonly string[]): string {
  return rawHeaders.filter((_, at) => at % 2 === 1 && rawHeaders[at - 1] === "authorization").join(", ");
}

function headOf(headers: IncomingHttpHeaders, rawHeaders: readonly string[]): CallHead {
  const joined = noHeaders();
  for (const name of Object.keys(headers)) {
    const value = headers[name];
    if (value !== undefined) joined[name] = Array.isArray(value) ? value.join(", ") : value;
  }
  if (headers.authorization !== undefined) joined["authorization"] = allAuthorizations(rawHeaders);
  return callHead(joined);
}

/** A call on a connection that Node.js frames. */
export class NodeStream implements CallStream {
  readonly head: CallHead;
  readonly peer: Peer;
  readonly #stream: ServerHttp2Stream;
  #trailers: Readonly<Record<string, string>> | undefined;

  constructor(
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    rawHeaders: readonly string[],
    peer: Peer,
  ) {
    this.#stream = stream;
    this.head = headOf(headers, rawHeaders);
    this.peer = peer;
    // Without a listener, a stream that breaks would end the process.
    stream.on("error", () => undefined);
  }

  listen(events: StreamEvents): void {
    let over = false;
    // A reset ends the writing half as if all had been written, so it is heard of before.
    const closed = (): void => {
      if (!over) events.closed();
      over = true;
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

  begin(headers: Readonly<Record<string, string>>): void {
    const stream = this.#stream;
    stream.respond({ ":status": 200, ...headers }, { waitForTrailers: true });
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
    this.#stream.respond({ ":status": status, ...headers }, { endStream: true });
  }

  reset(code: number): void {
    this.#stream.close(code);
  }
}
