import { number16, number32 } from "./frame-reader.ts";
import { codes, firstWindow, mostWindow, plainFrameBytes, settings } from "./frame-words.ts";
import { noTable } from "./header-writer.ts";

/** The largest frame of data (RFC 9113, 4.2), in both directions: fewer, larger frames cost less. */
export const maxFrameBytes: number = 2 ** 20;

/** The settings of a connection's client (RFC 9113, 6.5.2). */
export class ClientSettings {
  /** Bytes that the client takes of each stream before it widens the window. */
  streamWindow: number = firstWindow;
  /** Bytes of a frame that is sent to it. */
  frameBytes: number = plainFrameBytes;
  #tableSize = "";

  /** Precedes the next block of headers, if the client has requested a smaller table. */
  takeTableSize(): string {
    const text = this.#tableSize;
    this.#tableSize = "";
    return text;
  }

  /** Takes the settings of a frame. Returns one of HTTP/2's codes for what may not be set. */
  take(payload: Uint8Array): number | undefined {
    for (let at = 0; at < payload.byteLength; at += 6) {
      const wrong = this.#set(number16(payload, at), number32(payload, at + 2));
      if (wrong !== undefined) return wrong;
    }
    return undefined;
  }

  #set(setting: number, value: number): number | undefined {
    switch (setting) {
      case settings.headerTableSize:
        this.#tableSize = noTable;
        return undefined;
      case settings.enablePush:
        return value > 1 ? codes.protocol : undefined;
      case settings.initialWindowSize:
        if (value > mostWindow) return codes.flowControl;
        this.streamWindow = value;
        return undefined;
      case settings.maxFrameSize:
        if (value < plainFrameBytes || value >= 2 ** 24) return codes.protocol;
        // Larger ones would keep other streams waiting.
        this.frameBytes = Math.min(value, maxFrameBytes);
        return undefined;
      default:
        return undefined;
    }
  }
}
