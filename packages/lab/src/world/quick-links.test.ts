import { expect, it } from "vitest";
import {
  createOffloader,
  linkBelief,
  linkModel,
  seededRandom,
  silentObserver,
  standardPolicy,
  tensorOf,
} from "@longshore/core";
import { radios } from "@longshore/core/internal";
import { endpointInfo, toyModel } from "../fixtures/toy-model.ts";
import { type EmulatedLink, emulatedLink } from "../link/index.ts";
import { constantTrace } from "../trace/index.ts";
import { simulatedEndpoint, virtualClock } from "./index.ts";

const bytes = 600_000;
const x = tensorOf("x", "UINT8", [1, bytes], new Uint8Array(bytes));

/**
 * A device that takes 25 ms, and a box that takes 5 for the part after the first 10, at the end of an unknown link. Returns
 * where requests are answered, each sent as soon as the last is answered, and the share of the link used for other bytes.
 */
async function oneAfterTheOther(bitsPerSecond: number, delayMs: number, requests: number) {
  const trace = constantTrace(bitsPerSecond);
  const clock = virtualClock();
  const random = seededRandom(7924);
  const learner = linkBelief({ model: linkModel() });
  const link = emulatedLink({ up: trace, down: trace, delayMs, clock, random });
  let besides = 0;
  const carry: EmulatedLink["carry"] = (size, direction, options) => {
    // Crossings are of these sizes and 400 bytes.
    if (direction === "up" && ![10_400, 20_400, 300_400, 600_400].includes(size)) besides += size;
    return link.carry(size, direction, options);
  };
  const models = [toyModel(bytes)];
  const device = { models, info: endpointInfo("device", "device"), speed: 4 };
  const edge = { models, info: endpointInfo("edge", "edge"), speed: 12, callerSpeed: 4, handlingMs: 1.5 };
  const offloader = createOffloader({
    local: simulatedEndpoint({ ...device, clock, random: seededRandom(5) }),
    endpoints: [simulatedEndpoint({ ...edge, clock, random, learner, link: { ...link, carry } })],
    policy: standardPolicy(),
    clock,
    random: seededRandom(6),
    observer: silentObserver,
    links: () => learner,
    device: { activeWatts: device.info.rates.activeWatts, radio: radios.wired },
    defaults: { dataClass: "public" },
  });
  const where: string[] = [];
  for (let request = 0; request < requests; request++)
    where.push((await clock.runUntil(offloader.infer("toy", { x }))).where);
  const share = (besides * 8000) / (bitsPerSecond * clock.nowMs());
  await clock.runUntil(offloader.close());
  return { where, share };
}

it.each([
  [60e6, 1],
  [400e6, 0.3],
])(
  "finds out within thirty-five requests in a row that a link of %d bit/s is quick",
  async (rate, delayMs) => {
    const { where, share } = await oneAfterTheOther(rate, delayMs, 60);
    expect(where.slice(35).filter((one) => one === "edge").length).toBeGreaterThanOrEqual(23);
    expect(share).toBeLessThan(0.05);
  },
);
