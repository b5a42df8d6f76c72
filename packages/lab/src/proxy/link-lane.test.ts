import { seededRandom } from "@longshore/core";
import { expect, it } from "vitest";
import { constantTrace } from "../trace/index.ts";
import { linkLane, type Sink } from "./link-lane.ts";

const sinkThat = (land: () => void): Sink => ({
  gone: false,
  begin: () => undefined,
  land,
  end: () => undefined,
});

/** Bytes that a lane carries of a connection that breaks while it waits, with or without its opening, and of one behind it. */
async function carried(isOpen: boolean): Promise<number> {
  const lane = linkLane({
    trace: constantTrace(1e9),
    delayMs: 0,
    jitterMs: 0,
    random: seededRandom(1),
    nowMs: () => performance.now(),
    bufferBytes: 2 ** 20,
  });
  lane.cut();
  const broken = sinkThat(() => undefined);
  if (!isOpen) lane.open(broken);
  lane.push(broken, new Uint8Array(100_000));
  lane.abandon(broken, 65_536);
  await new Promise<void>((landed) => {
    lane.push(sinkThat(landed), new Uint8Array(10));
    lane.restore();
  });
  lane.close();
  return lane.carriedBytes;
}

it("a connection that breaks leaves what lies in the buffers of the link, and nothing before its opening has crossed", async () => {
  expect(await carried(true)).toBe(65_546);
  expect(await carried(false)).toBe(10);
});
