/** Handlers on ports of this machine, for the tests of listening. */
import { afterEach } from "vitest";
import { type Handler, seededRandom } from "@longshore/core";
import { manualClock } from "@longshore/testkit";
import { listen, type Listening } from "../src/listen/listen.ts";
import type { ListenOptions } from "../src/listen/options.ts";

const open: Listening[] = [];

// Hooks run in reverse: those of a test, which end its clients, before this.
afterEach(async () => {
  for (const listening of open.splice(0)) await listening.close(0);
});

/** A listener on a free port, on a clock that stands still; it closes after the test. */
export async function on(handler: Handler, change: Partial<ListenOptions> = {}): Promise<Listening> {
  const listening = await listen(handler, {
    clock: manualClock(),
    random: seededRandom(1),
    port: 0,
    ...change,
  });
  open.push(listening);
  return listening;
}
