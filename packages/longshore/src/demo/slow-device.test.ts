import type { EndpointCapabilities, Segment } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { virtualClock } from "@longshore/lab";
import { doubleDescription, doubleEndpoint, doubleOffer, wrapperContract } from "@longshore/testkit";
import { expect, it } from "vitest";
import { crowdedEndpoint } from "./crowded-endpoint.ts";
import { slowDevice } from "./slow-device.ts";

const description = doubleDescription({ name: "model" });
const segment: Segment = { ...doubleOffer(description, doubleEndpoint([]).info, 1).segment };
const call = housekeepingCall("test");

wrapperContract("as a slow device", {
  wrap: (inner) => slowDevice(inner, 1, virtualClock()),
  keepsOpen: true,
});
wrapperContract("with a crowd", { wrap: (inner) => crowdedEndpoint(inner, virtualClock()) });

/** An engine whose first run loads for 500 ms and runs for 10 ms. */
function engine(clock: ReturnType<typeof virtualClock>) {
  const double = doubleEndpoint([]);
  const capabilities: EndpointCapabilities = {
    prepare: () => Promise.resolve(),
    lacks: () => 7,
    loaded: () => false,
    loadMs: () => 500,
  };
  return {
    ...double,
    capabilities,
    async infer() {
      await new Promise<void>((resolve) => void clock.timer(510, resolve));
      return {
        outputs: new Map(),
        account: {
          endpoint: double.info.id,
          zone: double.info.zone,
          segment,
          stages: [
            { stage: "load" as const, name: "model", tookMs: 500 },
            { stage: "run" as const, name: "model", tookMs: 10 },
          ],
          sentBytes: 0,
          receivedBytes: 0,
          energy: { millijoules: 3, label: "estimated" as const },
          costMicros: 0,
          forwarded: [],
        },
      };
    },
  };
}

it("a slowed device and a crowded endpoint tell what the engine tells of loading", () => {
  const clock = virtualClock();
  const inner = engine(clock);
  for (const wrapped of [slowDevice(inner, 10, clock), crowdedEndpoint(inner, clock)])
    expect(wrapped.capabilities).toEqual(inner.capabilities);
});

it("a slowed device stretches runs, and not loads", async () => {
  const clock = virtualClock();
  const slow = slowDevice(engine(clock), 10, clock);
  const request = { segment, inputs: new Map(), codecs: {} };
  const { account } = await clock.runUntil(slow.infer(request, call));
  expect(clock.nowMs()).toBe(500 + 10 * 10);
  expect(account.stages.map(({ stage, tookMs }) => [stage, tookMs])).toEqual([
    ["load", 500],
    ["run", 100],
  ]);
});
