import { describe, expect, it } from "vitest";
import { tensorOf } from "@longshore/core";
import type { LinkHint } from "@longshore/core/internal";
import { endpointInfo, toyModel } from "../fixtures/toy-model.ts";
import { constantTrace } from "../trace/index.ts";
import { offloadWorld, type SimulatedModel } from "./index.ts";

const bytes = 600_000;
const x = tensorOf("x", "UINT8", [1, bytes], new Uint8Array(bytes));

/** The toy model without an endpoint to split it, or a codec: all of its 600 kB cross. */
function wholeModel(): SimulatedModel {
  const { description, profile } = toyModel(bytes);
  const variants = profile.variants.map((variant) => ({
    ...variant,
    buckets: variant.buckets.map((bucket) => ({
      ...bucket,
      legalCuts: 2,
      cuts: bucket.cuts
        .filter(({ cut }) => cut.id !== "c1")
        .map((cut) => ({ ...cut, codings: cut.codings.slice(0, 1) })),
    })),
  }));
  return { description, profile: { ...profile, variants } };
}

/** A device that takes a second and a box that takes 25 ms at the end of a link with this rate; a request every 3 s. */
async function decisions(bitsPerSecond: number, hint: LinkHint | undefined, requests: number) {
  const trace = constantTrace(bitsPerSecond);
  const { clock, offloader } = offloadWorld({
    models: [wholeModel()],
    seed: 5,
    device: { speed: 0.1, info: endpointInfo("device", "device") },
    endpoints: [
      {
        info: endpointInfo("edge", "edge"),
        speed: 4,
        up: trace,
        down: trace,
        delayMs: 20,
        ...(hint ? { hint } : {}),
      },
    ],
    defaults: { dataClass: "public" },
  });
  /** Where each request was sent first, and where its answer came from. */
  const all: { readonly first: string; readonly where: string }[] = [];
  for (let index = 0; index < requests; index++) {
    const beganMs = clock.nowMs();
    const { plans, where } = await clock.runUntil(offloader.infer("toy", { x }));
    all.push({ first: plans[0]?.legs[0]?.endpoint ?? "", where });
    await clock.advance(Math.max(0, beganMs + 3000 - clock.nowMs()));
  }
  await clock.runUntil(offloader.close());
  return all;
}

const thin = 0.5e6;
const quick = 50e6;

describe("a hint about a link", () => {
  it("keeps the first request here that would be sent over a thin link without it", async () => {
    const [unhinted] = await decisions(thin, undefined, 1);
    expect(unhinted).toMatchObject({ first: "edge" });
    for (const hint of [{ upBitsPerSecond: thin }, { downBitsPerSecond: thin, roundTripMs: 50 }])
      expect(await decisions(thin, hint, 1)).toEqual([{ first: "device", where: "device" }]);
  });

  it("that is a hundred times too low is forgotten, although it keeps requests here", async () => {
    const all = await decisions(quick, { upBitsPerSecond: thin }, 8);
    expect(all[0]).toMatchObject({ first: "device" });
    expect(all.slice(3).map(({ where }) => where)).toEqual(Array.from({ length: 5 }, () => "edge"));
  });

  it("that is a hundred times too high is forgotten as soon as the usual prior", async () => {
    for (const hint of [undefined, { upBitsPerSecond: quick }]) {
      const all = await decisions(thin, hint, 8);
      expect(all[0]).toMatchObject({ first: "edge", where: "device" });
      expect(all.slice(3).map(({ first }) => first)).toEqual(Array.from({ length: 5 }, () => "device"));
    }
  });
});
