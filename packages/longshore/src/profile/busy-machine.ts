import { type LoadMeter, loadMeter } from "@longshore/nodejs";
import type { CommandIo } from "../options/io.ts";

/** So long the machine is watched before a measurement. */
const watchedMs = 300;
/** Measurements beside more work of other programs than this say little. */
const busyRatio = 0.2;

/**
 * Watches the machine while this program does nothing, and warns if other programs keep its cores busy: times that are measured then are too long and
 * vary. Takes 0.3 s.
 */
export async function warnWhenBusy(
  io: Pick<CommandIo, "note">,
  meter: LoadMeter = loadMeter(),
): Promise<void> {
  try {
    await new Promise<void>((resolve) => setTimeout(resolve, watchedMs));
    const { busyRatio: found = 0 } = meter.read();
    if (found <= busyRatio) return;
    io.note(
      `warning: other programs keep the processor busy (${Math.round(found * 100)} % of all cores); times measured now are too long and vary`,
    );
  } finally {
    meter[Symbol.dispose]();
  }
}
