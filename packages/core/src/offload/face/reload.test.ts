import { doubleDescription, doubleEndpoint, doubleInfo, doubleOffer, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import {
  type Call,
  housekeepingCall,
  LongshoreError,
  seededRandom,
  silentObserver,
} from "../../words/base/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { float32Tensor, float32View, tensorsOf } from "../../words/tensor/index.ts";
import { offloadEndpoint } from "./offload-endpoint.ts";

const versions = ["1", "2"].map((version) =>
  doubleDescription({
    name: "same",
    version,
    digest: `sha256:${version.repeat(64)}`,
    inputs: [{ name: "x", datatype: "FP32", shape: [1] }],
    outputs: [{ name: "y", datatype: "FP32", shape: [1] }],
    dataClass: "internal",
  }),
);

/** A server that has one version at a time, which it multiplies by, or none. */
function server(id: string, runMs: number) {
  const info = { ...doubleInfo, id, zone: "eu" };
  const state = { has: 1 as 0 | 1 | 2 };
  const inner = versions.map((description, at) =>
    doubleEndpoint(
      [
        {
          description,
          offers: [doubleOffer(description, info, runMs)],
          async run(inputs) {
            const [x] = float32View(inputs.get("x")!);
            return { outputs: tensorsOf(float32Tensor("y", [1], Float32Array.of(x! * (at + 1)))) };
          },
        },
      ],
      info,
    ),
  );
  const now = (): Endpoint | undefined => inner[state.has - 1];
  const endpoint: Endpoint = {
    ...inner[0]!,
    info,
    async describe(...asked) {
      return now()?.describe(...asked);
    },
    async offers(...asked) {
      return now()?.offers(...asked) ?? [];
    },
    async infer(request, ...rest) {
      const { version } = request.segment;
      const has = now();
      if (!has) throw new LongshoreError("unknown-model", "resolve", `${id} has no such model`);
      if (version !== `${state.has}`)
        throw new LongshoreError("unknown-version", "resolve", `not ${version}`);
      return has.infer(request, ...rest);
    },
  };
  return { endpoint, state };
}

it("answers requests that name no version with the one that another server has, when the first puts its own away", async () => {
  const clock = manualClock();
  const [one, two] = [server("one", 50), server("two", 5)];
  const gateway = offloadEndpoint({
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock,
    random: seededRandom(2),
    observer: silentObserver,
    links: () => undefined,
    endpoints: [one.endpoint, two.endpoint],
    info: { ...doubleInfo, id: "gateway", zone: "eu" },
  });
  const rules: Call["rules"] = { dataClass: "internal", leastTrust: "none", zones: ["eu"] };
  const ask = async (version = ""): Promise<number> => {
    const call = { ...housekeepingCall("c"), rules, deadlineMs: clock.nowMs() + 2000 };
    const segment = { model: "same", version, digest: "", variant: "", from: "start", to: "end" };
    using _pass = gateway.capabilities.admit?.(segment, call);
    const inputs = tensorsOf(float32Tensor("x", [1], Float32Array.of(3)));
    const { outputs } = await clock.finish(gateway.infer({ segment, inputs, codecs: {} }, call));
    return float32View(outputs.get("y")!)[0]!;
  };
  const steps = [2, 0, 1, 2, 0, 2, 1, 0, 1] as const;
  expect(await ask()).toBe(3);
  for (const has of steps) {
    one.state.has = has;
    for (let request = 0; request < 40; request++) {
      expect([3, 6]).toContain(await ask());
      expect(await ask("1")).toBe(3);
      await clock.advance(250);
    }
  }
});
