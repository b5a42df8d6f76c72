import type { Socket } from "node:net";
import { type ConnectionAdmission, readMemoryBytes } from "@longshore/core/internal";
import { SpareMemory } from "./kept-memory.ts";
import { QuickConnection, type QuickParts, type SharedParts } from "./quick-connection.ts";
import { dateLine } from "./reply-head.ts";

/** The connections of a listener that are read here. */
export interface QuickConnections {
  /** Reads an accepted connection. Returns the socket that it has from now on. */
  take(accepted: Socket, admission: ConnectionAdmission): Socket;
  /** Ends those that wait for a request; the others end with their reply. */
  close(): void;
}

export function quickConnections(parts: QuickParts): QuickConnections {
  const live = new Set<QuickConnection>();
  const shared: SharedParts = {
    ...parts,
    memory: Buffer.allocUnsafeSlow(readMemoryBytes),
    spare: new SpareMemory(),
    date: dateLine(parts.options.clock),
  };
  return {
    take(accepted, admission) {
      const one = new QuickConnection(accepted, shared, admission, () => live.delete(one));
      live.add(one);
      return one.socket;
    },
    close() {
      for (const one of live) one.endOnceIdle();
    },
  };
}
