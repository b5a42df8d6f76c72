import type { Endpoint, InferenceRequest } from "@longshore/core";
import { housekeepingCall, releaser } from "@longshore/core/internal";
import { expect, it } from "vitest";
import { madeOnce } from "./made-once.ts";

it("runs a segment once, and gives every caller tensors that may be freed", async () => {
  let runs = 0;
  const unasked = () => Promise.reject(new Error("nobody asks for this"));
  const engine = {
    info: {},
    describe: unasked,
    offers: unasked,
    close: unasked,
    infer: () => {
      runs++;
      const bytes = new Uint8Array(32_768).fill(7);
      const spec = { name: "c3", datatype: "UINT8", shape: [bytes.length] };
      return Promise.resolve({ outputs: new Map([["c3", { spec, bytes }]]) });
    },
  } as unknown as Endpoint;
  const device = madeOnce(engine);
  const free = releaser();
  const request = { segment: { model: "m", variant: "base", from: "start", to: "c3" } } as InferenceRequest;
  for (let times = 0; times < 2; times++) {
    const { outputs } = await device.infer(request, housekeepingCall("test"));
    const bytes = outputs.get("c3")!.bytes;
    expect([bytes.length, bytes[0]]).toEqual([32_768, 7]);
    free(bytes);
    expect(bytes.length).toBe(0);
  }
  expect(runs).toBe(1);
});
