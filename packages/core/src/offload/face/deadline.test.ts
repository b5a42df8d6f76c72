import { doubleDescription, doubleEndpoint, doubleInfo, doubleOffer, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { housekeepingCall, seededRandom, silentObserver } from "../../words/base/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { float32Tensor, tensorsOf } from "../../words/tensor/index.ts";
import { offloadEndpoint } from "./offload-endpoint.ts";

const description = doubleDescription({ name: "twice", dataClass: "internal" });
const { segment } = doubleOffer(description, doubleInfo, 1);

it("a deadline that passes while a silent server is queried for its models is deadline-exceeded, though its timer is early", async () => {
  const manual = manualClock();
  const clock = { ...manual, timer: (ms: number, fire: () => void) => manual.timer(ms - 0.9, fire) };
  const silent = {
    ...doubleEndpoint([], { ...doubleInfo, id: "silent" }),
    describe: () => new Promise<undefined>(() => undefined),
  };
  const gateway = offloadEndpoint({
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock,
    random: seededRandom(7),
    observer: silentObserver,
    links: () => undefined,
    endpoints: [silent],
    info: { ...doubleInfo, id: "gate" },
  });
  const call = { ...housekeepingCall("c"), deadlineMs: 1500 };
  const inputs = tensorsOf(float32Tensor("x", [1], Float32Array.of(3)));
  const asked = gateway.infer({ segment, inputs, codecs: {} }, call);
  await expect(manual.finish(asked)).rejects.toMatchObject({ reason: "deadline-exceeded", stage: "resolve" });
});
