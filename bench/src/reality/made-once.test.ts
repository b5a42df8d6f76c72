import { housekeepingCall, releaser } from "@longshore/core/internal";
import { doubleDescription, doubleEndpoint } from "@longshore/testkit";
import { expect, it } from "vitest";
import { madeOnce } from "./made-once.ts";

it("runs a segment once, and gives every caller tensors that may be freed", async () => {
  let runs = 0;
  const engine = doubleEndpoint([
    {
      description: doubleDescription({ name: "m" }),
      run: () => {
        runs++;
        const bytes = new Uint8Array(32_768).fill(7);
        const spec = { name: "c3", datatype: "UINT8", shape: [bytes.length] } as const;
        return new Map([["c3", { spec, bytes }]]);
      },
    },
  ]);
  const device = madeOnce(engine);
  const free = releaser();
  const segment = { model: "m", version: "1", digest: "", variant: "base", from: "start", to: "c3" };
  const request = { segment, inputs: new Map(), codecs: {} };
  for (let times = 0; times < 2; times++) {
    const { outputs } = await device.infer(request, housekeepingCall("test"));
    const bytes = outputs.get("c3")!.bytes;
    expect([bytes.length, bytes[0]]).toEqual([32_768, 7]);
    free(bytes);
    expect(bytes.length).toBe(0);
  }
  expect(runs).toBe(1);
});
