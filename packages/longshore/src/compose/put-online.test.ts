import { once } from "node:events";
import { connect } from "node:net";
import { expect, it } from "vitest";
import { float32Tensor, tensorsOf } from "@longshore/core";
import { doubleDescription, doubleEndpoint, manualClock } from "@longshore/testkit";
import { putOnline } from "./put-online.ts";

it("joins no directory when its loads finish only after it was stopped", async () => {
  const double = { description: doubleDescription({ name: "double" }), run: () => new Map() };
  for (const stopped of [false, true]) {
    let memberships = 0;
    let drain = (_graceMs: number): Promise<void> => Promise.resolve();
    const join = { address: "http://127.0.0.1:1" };
    const online = await putOnline({ port: 0, join, listening: (how) => void (drain = how) }, () => ({
      endpoint: doubleEndpoint([double], { id: "server" }),
      load: () => ({ atMs: 0, cpuRatio: 0, inFlight: 0, queueMs: 0 }),
      joined: () => void memberships++,
      async begin(ready) {
        if (stopped) await drain(1000);
        ready();
      },
      close: () => Promise.resolve(),
    }));
    await online.close(0);
    expect(memberships).toBe(stopped ? 0 : 1);
  }
});

it("closes when a long answer that was there before has been read, however slowly, within its time", async () => {
  const values = 2 ** 23;
  const long = {
    description: doubleDescription({
      name: "long",
      inputs: [{ name: "x", datatype: "FP32", shape: [1, 1] }],
      outputs: [{ name: "y", datatype: "FP32", shape: [1, -1] }],
    }),
    run: () => tensorsOf(float32Tensor("y", [1, values], new Float32Array(values))),
  };
  const clock = manualClock();
  const online = await putOnline({ port: 0, clock }, () => ({
    endpoint: doubleEndpoint([long], { id: "server" }),
    load: () => ({ atMs: 0, cpuRatio: 0, inFlight: 0, queueMs: 0 }),
    close: () => Promise.resolve(),
  }));
  const client = connect(Number(new URL(online.address).port), "127.0.0.1");
  const body = JSON.stringify({
    inputs: [{ name: "x", datatype: "FP32", shape: [1, 1], data: [1] }],
    outputs: [{ name: "y", parameters: { binary_data: true } }],
  });
  client.write(
    `POST /v2/models/long/infer HTTP/1.1\r\nhost: a\r\ncontent-length: ${body.length}\r\n\r\n${body}`,
  );
  await once(client, "readable");
  const closed = online.close(60_000);
  // Longer than connections get on which nothing is under way.
  await clock.advance(1500);
  let bytes = 0;
  client.on("data", (chunk: Uint8Array) => (bytes += chunk.byteLength));
  await once(client, "end");
  expect(bytes).toBeGreaterThan(4 * values);
  await closed;
});
