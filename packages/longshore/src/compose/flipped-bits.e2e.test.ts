import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import {
  float32Tensor,
  float32View,
  type InferenceResponse,
  LongshoreError,
  seededRandom,
  silentObserver,
  tensorsOf,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { graphBuilder, writeModel } from "@longshore/graph";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { memoryStore } from "@longshore/testkit";
import { afterEach, expect, it } from "vitest";
import { dial, serverInfo } from "../connect/dial.ts";
import { gateway } from "./forwarding.ts";
import { serve } from "./serve.ts";

const open: { close(graceMs?: number): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close(0);
});

/** `y = -x` for any number of floats. */
function negative(): Uint8Array {
  const build = graphBuilder();
  build.node("Neg", [build.input("x", "FP32", [-1])], { outputs: ["y"] });
  build.output("y", "FP32", [-1]);
  return writeModel(build.model({ name: "negative", opset: 13 }));
}

async function server(): Promise<string> {
  const running = await serve({ store: memoryStore({ "negative/1/model.onnx": negative() }), port: 0 });
  open.push(running);
  return running.address;
}

type Direction = "request" | "reply";

/** A relay of TCP that can flip one bit of what passes. */
interface Relay {
  readonly address: string;
  /** Flips this bit of what passes from now on in that direction. */
  flip(direction: Direction, bit: number): void;
  /** Bytes that passed in that direction since the last call. */
  passed(direction: Direction): number;
}

async function relay(to: string): Promise<Relay> {
  const { hostname, port } = new URL(to);
  const bytes = { request: 0, reply: 0 };
  let armed: { readonly direction: Direction; readonly bit: number } | undefined;
  const pass = (from: Socket, into: Socket, direction: Direction): void => {
    from.on("data", (chunk: Buffer) => {
      const at = armed?.direction === direction ? (armed.bit >> 3) - bytes[direction] : -1;
      if (armed && at >= 0 && at < chunk.byteLength) {
        chunk[at]! ^= 1 << (armed.bit & 7);
        armed = undefined;
      }
      bytes[direction] += chunk.byteLength;
      into.write(chunk);
    });
    from.on("error", () => into.destroy()).on("close", () => into.destroy());
  };
  const sockets = new Set<Socket>();
  const listener = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    for (const one of [client, upstream]) sockets.add(one.setNoDelay(true));
    pass(client, upstream, "request");
    pass(upstream, client, "reply");
  });
  await once(listener.listen(0, "127.0.0.1"), "listening");
  open.push({ close: () => (sockets.forEach((one) => one.destroy()), listener.close()) });
  return {
    address: `http://127.0.0.1:${(listener.address() as AddressInfo).port}`,
    flip: (direction, bit) => {
      bytes[direction] = 0;
      armed = { direction, bit };
    },
    passed: (direction) => {
      const passed = bytes[direction];
      bytes[direction] = 0;
      return passed;
    },
  };
}

/** The outcomes of requests of which one bit was flipped. */
interface Outcomes {
  right: number;
  wrong: number;
  readonly reasons: Map<string, number>;
}

/** Asks through the relay, with a random bit flipped each time. */
async function flipped(
  asked: string,
  between: Relay,
  options: { readonly floats: number; readonly flips: number; readonly kind: "longshore" | "oip" },
): Promise<Outcomes> {
  const clock = systemClock();
  const { floats, flips, kind } = options;
  const info = serverInfo({ address: asked, kind });
  const endpoint = dial(info, { clock, random: systemRandom(), observer: silentObserver });
  open.push(endpoint);
  const values = Float32Array.from({ length: floats }, (_, index) => index + 0.5);
  // A flipped length leaves both sides waiting for each other.
  const call = (withinMs = 5000): ReturnType<typeof housekeepingCall> => ({
    ...housekeepingCall("flip"),
    rules: { dataClass: "public", leastTrust: "none" },
    deadlineMs: clock.nowMs() + withinMs,
  });
  const known = await endpoint.describe("negative", "1", call(120_000));
  const digest = known?.description.digest ?? "";
  const segment = { model: "negative", version: "1", digest, variant: "default", from: "start", to: "end" };
  const ask = (withinMs?: number): Promise<InferenceResponse> => {
    const inputs = tensorsOf(float32Tensor("x", [floats], values));
    return endpoint.infer({ segment, inputs, codecs: {} }, call(withinMs));
  };
  const isRight = ({ outputs }: InferenceResponse): boolean => {
    const y = outputs.get("y");
    return (
      y !== undefined &&
      float32View(y).length === floats &&
      float32View(y).every((one, at) => one === -values[at]!)
    );
  };
  between.passed("request");
  between.passed("reply");
  expect(isRight(await ask(120_000))).toBe(true);
  const lengths = { request: between.passed("request"), reply: between.passed("reply") };
  const random = seededRandom(22);
  const outcomes: Outcomes = { right: 0, wrong: 0, reasons: new Map() };
  for (let flip = 0; flip < flips; flip++) {
    const direction = flip % 2 === 0 ? "request" : "reply";
    between.flip(direction, Math.floor(random.next() * lengths[direction] * 8));
    try {
      if (isRight(await ask())) outcomes.right++;
      else outcomes.wrong++;
    } catch (thrown) {
      const { reason } = LongshoreError.from(thrown, "transport", "asking");
      outcomes.reasons.set(reason, (outcomes.reasons.get(reason) ?? 0) + 1);
    }
  }
  return outcomes;
}

it("gives no wrong answer when a bit of a request or reply is flipped on its way", async () => {
  const between = await relay(await server());
  const { wrong, reasons } = await flipped(between.address, between, {
    floats: 500,
    flips: 400,
    kind: "longshore",
  });
  expect(wrong).toBe(0);
  expect(reasons.get("checksum-mismatch")).toBeGreaterThan(100);
});

it("accepts no description and no offer with a bit flipped on its way", async () => {
  const between = await relay(await server());
  const clock = systemClock();
  const info = serverInfo({ address: between.address, kind: "longshore" });
  const endpoint = dial(info, { clock, random: systemRandom(), observer: silentObserver });
  open.push(endpoint);
  const call = (): ReturnType<typeof housekeepingCall> => ({
    ...housekeepingCall("flip"),
    deadlineMs: clock.nowMs() + 5000,
  });
  const whole = await endpoint.describe("negative", "1", call());
  between.passed("reply");
  await endpoint.describe("negative", "1", call());
  const length = between.passed("reply");
  const random = seededRandom(23);
  const found = new Set<string>();
  for (let flip = 0; flip < 60; flip++) {
    between.flip("reply", Math.floor(random.next() * length * 8));
    try {
      expect(await endpoint.describe("negative", "1", call())).toEqual(whole);
    } catch (thrown) {
      if (!LongshoreError.is(thrown)) throw thrown;
      found.add(thrown.reason);
    }
  }
  expect(found).toContain("checksum-mismatch");
});

it("leaves clients of the plain protocol as they are, which have wrong answers of flipped bits", async () => {
  const between = await relay(await server());
  const { wrong, reasons } = await flipped(between.address, between, {
    floats: 500,
    flips: 100,
    kind: "oip",
  });
  expect(wrong).toBeGreaterThan(20);
  expect(reasons.get("checksum-mismatch")).toBeUndefined();
});

it("gives none to clients of the plain protocol whose long bodies a gateway passes on, flipped between gateway and server", async () => {
  const between = await relay(await server());
  const servers = [{ address: between.address }];
  const running = await gateway({ port: 0, id: "gateway", dataClass: "internal", servers });
  open.push(running);
  const { wrong } = await flipped(running.address, between, { floats: 100_000, flips: 60, kind: "oip" });
  expect(wrong).toBe(0);
});

it.each(["before", "behind"])(
  "gives none through a gateway that passes long bodies on, flipped %s it",
  async (where) => {
    const last = await server();
    const behind = where === "behind" ? await relay(last) : undefined;
    const servers = [{ address: behind?.address ?? last }];
    const running = await gateway({ port: 0, id: "gateway", dataClass: "internal", servers });
    open.push(running);
    const between = behind ?? (await relay(running.address));
    const asked = behind ? running.address : between.address;
    const { wrong, reasons } = await flipped(asked, between, {
      floats: 100_000,
      flips: 60,
      kind: "longshore",
    });
    expect(wrong).toBe(0);
    // The gateway resends a request whose body was damaged between it and the server; damage before it is reported to its
    // client.
    if (!behind) expect([...reasons.keys()]).toContain("checksum-mismatch");
  },
);
