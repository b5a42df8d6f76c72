import type { OpenLink } from "./runner-link.ts";
import { createRunner, type ImportOrt } from "./runner.ts";
import { newSharedMemory } from "./shared-page.ts";

/**
 * A runner on the calling thread, for graphs whose runs are shorter than a message to another thread. It blocks that thread while it loads
 * and runs, and cannot be ended.
 */
export function thisThreadLink(importOrt: ImportOrt): OpenLink {
  return (events) => {
    const handle = createRunner(importOrt, (message) => events.received(message));
    return {
      // Nothing has to move: both sides use the same memory.
      moves: false,
      shared: newSharedMemory(),
      send: (message) => void handle(message),
      hold: () => undefined,
      end: () => Promise.resolve(),
    };
  };
}
