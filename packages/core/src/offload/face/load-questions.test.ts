import { doubleDescription, doubleEndpoint, doubleInfo, doubleOffer, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { housekeepingCall, seededRandom, silentObserver, sleep } from "../../words/base/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { float32Tensor, tensorsOf } from "../../words/tensor/index.ts";
import { offloadEndpoint } from "./offload-endpoint.ts";

const y = float32Tensor("y", [1], Float32Array.of(1));

it("sends a request before it asks others how busy they are, since it would wait for those questions", async () => {
  const clock = manualClock();
  const description = doubleDescription({ name: "one", outputs: [y.spec] });
  const sent: string[] = [];
  const endpoints = ["a", "b"].map((id): Endpoint => {
    const info = { ...doubleInfo, id };
    // Others send there, too.
    const load = { atMs: 0, cpuRatio: 0, inFlight: 3, queueMs: 0 };
    const run = async () => {
      await sleep(clock, 50);
      return { outputs: tensorsOf(y), load };
    };
    const double = doubleEndpoint([{ description, offers: [doubleOffer(description, info, 50)], run }], info);
    const probe = async () => {
      sent.push("question");
      await sleep(clock, 20);
      return { ...load, atMs: clock.nowMs() };
    };
    const infer: Endpoint["infer"] = (request, call) => {
      sent.push("request");
      return double.infer(request, call);
    };
    return { ...double, infer, capabilities: { ...double.capabilities, probe } };
  });
  const gateway = offloadEndpoint({
    policy: tablePolicy({ public: { leastTrust: "none" } }),
    clock,
    random: seededRandom(1),
    observer: silentObserver,
    endpoints: endpoints,
    links: () => undefined,
    info: { ...doubleInfo, id: "gate" },
  });
  const { segment } = doubleOffer(description, doubleInfo, 50);
  const ask = (id: number) =>
    gateway.infer({ segment, inputs: new Map(), codecs: {} }, housekeepingCall(`c${id}`));
  // Both are asked, and say that others are there.
  await clock.finish(Promise.all([1, 2, 3, 4, 5, 6].map(ask)));
  await clock.advance(100);
  sent.length = 0;
  for (let count = 0; count < 20; count++) {
    await clock.finish(ask(count));
    await clock.advance(100);
  }
  expect(sent.filter((one) => one === "question").length).toBeGreaterThan(5);
  // No question before the request that it belongs to.
  expect(sent.join(" ")).toMatch(/^(?:request(?: question)?(?: |$))+$/);
});
