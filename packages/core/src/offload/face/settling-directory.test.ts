import { doubleDescription, doubleEndpoint, doubleInfo, doubleOffer, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { type Call, housekeepingCall, seededRandom, silentObserver } from "../../words/base/index.ts";
import type { Directory } from "../../fleet/directory/index.ts";
import type { EndpointInfo } from "../../wire/endpoint/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { float32Tensor, float32View, tensorsOf } from "../../words/tensor/index.ts";
import { offloadEndpoint } from "./offload-endpoint.ts";

const description = doubleDescription({
  name: "same",
  digest: `sha256:${"7".repeat(64)}`,
  inputs: [{ name: "x", datatype: "FP32", shape: [1] }],
  outputs: [{ name: "y", datatype: "FP32", shape: [1] }],
  dataClass: "internal",
});

const infoOf = (id: string, zone: string): EndpointInfo => ({ ...doubleInfo, id, zone });

/** A directory whose entries the test sets. */
function directoryOf(first: EndpointInfo) {
  const watchers = new Set<() => void>();
  let entries: readonly EndpointInfo[] = [first];
  let settling = true;
  const changed = (): void => watchers.forEach((one) => one());
  const directory: Directory = {
    snapshot: () => ({ entries, ageMs: 0, ...(settling ? { settling } : {}) }),
    watch(one) {
      watchers.add(one);
      return { [Symbol.dispose]: () => void watchers.delete(one) };
    },
  };
  return {
    directory,
    name(info: EndpointInfo) {
      entries = [...entries, info];
      changed();
    },
    settle() {
      settling = false;
      changed();
    },
  };
}

/** A gateway whose directory names a server in the zone `us` and is still settling. */
async function gateway() {
  const clock = manualClock();
  const ran: string[] = [];
  const named = directoryOf(infoOf("us-1", "us"));
  const endpoint = offloadEndpoint({
    directory: named.directory,
    dial: (info) =>
      doubleEndpoint(
        [
          {
            description,
            offers: [doubleOffer(description, info, 5)],
            async run(inputs) {
              ran.push(info.id);
              return { outputs: tensorsOf(float32Tensor("y", [1], float32View(inputs.get("x")!).slice())) };
            },
          },
        ],
        info,
      ),
    info: infoOf("gate", "eu"),
    policy: tablePolicy({
      internal: { leastTrust: "none" },
      secret: { zones: ["device"], leastTrust: "none" },
    }),
    clock,
    random: seededRandom(3),
    observer: silentObserver,
    links: () => undefined,
  });
  const { segment } = doubleOffer(description, doubleInfo, 1);
  const ask = (zones: readonly string[], deadlineMs: number, dataClass = "internal") => {
    const call: Call = {
      ...housekeepingCall("c"),
      rules: { dataClass, leastTrust: "none", zones },
      deadlineMs: clock.nowMs() + deadlineMs,
    };
    const inputs = tensorsOf(float32Tensor("x", [1], Float32Array.of(3)));
    return endpoint.infer({ segment, inputs, codecs: {} }, call);
  };
  await clock.finish(ask(["us"], 5000));
  ran.length = 0;
  return { clock, endpoint, named, ask, ran };
}

it("lets a request wait for a permitted server that the directory names while it settles", async () => {
  const { clock, named, ask, ran } = await gateway();
  const asked = ask(["eu"], 20_000);
  await clock.advance(3000);
  named.name(infoOf("eu-1", "eu"));
  const { account } = await clock.finish(asked);
  expect([account.forwarded.at(-1)?.endpoint, ran]).toEqual(["eu-1", ["eu-1"]]);
});

it.each([3000, Infinity])("says starting after %d ms if none is named, and runs it nowhere", async (ms) => {
  const { clock, ask, ran } = await gateway();
  const beganMs = clock.nowMs();
  await expect(clock.finish(ask(["eu"], ms))).rejects.toMatchObject({
    reason: "starting",
    retryable: true,
    retryAfterMs: 1000,
    message: expect.stringContaining("the directory has just started") as string,
  });
  expect(clock.nowMs() - beganMs).toBeLessThanOrEqual(Math.min(ms, 10_000));
  expect(ran).toEqual([]);
});

it("denies a request as soon as the directory has settled without a permitted server", async () => {
  const { clock, named, ask, ran } = await gateway();
  const asked = ask(["eu"], 20_000);
  const denied = expect(asked).rejects.toMatchObject({ reason: "policy-denied", retryable: false });
  await clock.advance(2000);
  named.settle();
  await clock.finish(denied);
  expect(clock.nowMs()).toBeLessThan(10_000);
  expect(ran).toEqual([]);
});

it("denies data that may leave this device nowhere at once", async () => {
  const { clock, ask, ran } = await gateway();
  const beganMs = clock.nowMs();
  await expect(clock.finish(ask(["us"], 20_000, "secret"))).rejects.toMatchObject({
    reason: "policy-denied",
    retryable: false,
  });
  expect([clock.nowMs() - beganMs, ran]).toEqual([0, []]);
});

it("says starting of a model that no server has while it settles, and unknown-model afterwards", async () => {
  const { clock, endpoint, named } = await gateway();
  const described = (): Promise<unknown> => endpoint.describe("other", undefined, housekeepingCall("d"));
  await expect(clock.finish(described())).rejects.toMatchObject({
    reason: "starting",
    retryAfterMs: 1000,
    message: expect.stringContaining("no server has other yet") as string,
  });
  named.settle();
  expect(await clock.finish(described())).toBeUndefined();
});
