import type { Socket } from "node:net";
import { type ConnectionAdmission, readMemoryBytes } from "@longshore/core/internal";
import { SpareMemory } from "./kept-memory.ts";
import { Http1Connection, type Http1Parts, type SharedParts } from "./connection.ts";
import { dateLine, keepAliveLines } from "./reply-head.ts";

/** The connections of a listener that are read here. */
export interface Http1Connections {
  /** Reads an accepted connection. Returns the socket that it has from now on. */
  take(accepted: Socket, admission: ConnectionAdmission): Socket;
  /** Ends those that wait for a request; the others end with their reply. */
  close(): void;
}

export function http1Connections(parts: Http1Parts): Http1Connections {
  const live = new Set<Http1Connection>();
  const shared: SharedParts = {
    ...parts,
    memory: Buffer.allocUnsafeSlow(readMemoryBytes),
    spare: new SpareMemory(),
    date: dateLine(parts.options.clock),
    stays: keepAliveLines(parts.options.keepAliveMs),
  };
  return {
    take(accepted, admission) {
      const one = new Http1Connection(accepted, shared, admission, () => live.delete(one));
      live.add(one);
      return one.socket;
    },
    close() {
      for (const one of live) one.endOnceIdle();
    },
  };
}
