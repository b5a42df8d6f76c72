import type { Socket } from "node:net";
import { readMemoryBytes } from "@longshore/core";
import { QuickConnection, type QuickParts, type SharedParts } from "./quick-connection.ts";
import { dateLine } from "./reply-head.ts";

/** The connections of a listener that are read here. */
export interface QuickConnections {
  take(socket: Socket): void;
  /** Ends those that wait for a request; the others end with their reply. */
  close(): void;
  destroy(): void;
}

export function quickConnections(parts: QuickParts): QuickConnections {
  const live = new Set<QuickConnection>();
  const shared: SharedParts = {
    ...parts,
    memory: Buffer.allocUnsafeSlow(readMemoryBytes),
    date: dateLine(parts.options.clock),
  };
  return {
    take(socket) {
      const one = new QuickConnection(socket, shared, () => live.delete(one));
      live.add(one);
    },
    close() {
      for (const one of live) one.endOnceIdle();
    },
    destroy() {
      for (const one of live) one.destroy();
    },
  };
}
