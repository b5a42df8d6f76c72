import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { LongshoreError, seededRandom } from "@longshore/core";
import { Client, credentials, status } from "@grpc/grpc-js";
import { systemClock } from "@longshore/nodejs";
import { afterEach, expect, it } from "vitest";
import { listenGrpc } from "../listen/index.ts";
import {
  GetMetricSpecResponseSchema,
  GetMetricsRequestSchema,
  GetMetricsResponseSchema,
  IsActiveResponseSchema,
  ScaledObjectRefSchema,
} from "../proto/external_scaler_pb.ts";
import { externalScaler, type ScaleNumber, type ScaleTarget } from "./external-scaler.ts";

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

/** A scaler on a port, and the client of another make that KEDA would be. */
async function scaler(first: ScaleNumber) {
  let now = first;
  let changed = (): void => undefined;
  const asked: ScaleTarget[] = [];
  const numbers = {
    of(target: ScaleTarget) {
      asked.push(target);
      if (target.metadata["model"] === "no")
        throw new LongshoreError("unknown-model", "resolve", "no such model");
      return now;
    },
    watch(tell: () => void) {
      changed = tell;
      return { [Symbol.dispose]: () => undefined };
    },
  };
  const listening = await listenGrpc(
    async () => ({ status: 404, headers: {}, body: { kind: "parts", parts: [] } }),
    {
      clock: systemClock(),
      random: seededRandom(1),
      port: 0,
      services: [externalScaler({ numbers })],
    },
  );
  const client = new Client(listening.address, credentials.createInsecure());
  open.push(listening, client);
  const method = (name: string): string => `/externalscaler.ExternalScaler/${name}`;
  const bytes = (value: Buffer): Buffer => value;
  const target = (metadata: Record<string, string> = { model: "ocr" }) =>
    create(ScaledObjectRefSchema, { name: "ocr", namespace: "shop", scalerMetadata: metadata });
  const ask = (name: string, message: Uint8Array): Promise<Buffer> =>
    new Promise((resolve, reject) =>
      client.makeUnaryRequest(method(name), bytes, bytes, Buffer.from(message), (error, answer) =>
        error ? reject(error) : resolve(answer ?? Buffer.alloc(0)),
      ),
    );
  const watchActive = (values: boolean[]) => {
    const ref = Buffer.from(toBinary(ScaledObjectRefSchema, target()));
    const stream = client.makeServerStreamRequest(method("StreamIsActive"), bytes, bytes, ref);
    stream.on("error", () => undefined);
    const waiting: (() => void)[] = [];
    stream.on("data", (one: Buffer) => {
      values.push(fromBinary(IsActiveResponseSchema, one).result);
      waiting.splice(0).forEach((wake) => wake());
    });
    return { stream, next: () => new Promise<void>((resolve) => waiting.push(resolve)) };
  };
  const set = (next: ScaleNumber): void => {
    now = next;
    changed();
  };
  return { ask, target, asked, watchActive, set };
}

it("serves the number with a target of 1, and whether anything is needed", async () => {
  const { ask, target, asked } = await scaler({ needed: 7, active: true });
  const ref = toBinary(ScaledObjectRefSchema, target());
  expect(fromBinary(IsActiveResponseSchema, await ask("IsActive", ref)).result).toBe(true);
  expect(fromBinary(GetMetricSpecResponseSchema, await ask("GetMetricSpec", ref)).metricSpecs).toMatchObject([
    { metricName: "longshore-needed-endpoints", targetSize: 1n, targetSizeFloat: 1 },
  ]);
  const request = create(GetMetricsRequestSchema, {
    scaledObjectRef: target(),
    metricName: "longshore-needed-endpoints",
  });
  const answer = await ask("GetMetrics", toBinary(GetMetricsRequestSchema, request));
  expect(fromBinary(GetMetricsResponseSchema, answer).metricValues).toMatchObject([
    { metricName: "longshore-needed-endpoints", metricValue: 7n, metricValueFloat: 7 },
  ]);
  expect(asked[0]).toEqual({ name: "ocr", namespace: "shop", metadata: { model: "ocr" } });
});

it("tells at once when the first request comes, and tells each change once", async () => {
  const { watchActive, set } = await scaler({ needed: 0, active: false });
  const values: boolean[] = [];
  const { stream, next } = watchActive(values);
  await next();
  set({ needed: 0, active: false });
  const second = next();
  set({ needed: 1, active: true });
  await second;
  expect(values).toEqual([false, true]);
  stream.cancel();
});

it("says UNAVAILABLE for what is not known yet, but for the metric's name, and is silent in a stream", async () => {
  const { ask, target, watchActive, set } = await scaler({ needed: undefined, active: undefined });
  const ref = toBinary(ScaledObjectRefSchema, target());
  await expect(ask("IsActive", ref)).rejects.toMatchObject({ code: status.UNAVAILABLE });
  const metricName = "longshore-needed-endpoints";
  const request = create(GetMetricsRequestSchema, { scaledObjectRef: target(), metricName });
  const asked = toBinary(GetMetricsRequestSchema, request);
  await expect(ask("GetMetrics", asked)).rejects.toMatchObject({ code: status.UNAVAILABLE });
  await ask("GetMetricSpec", ref);
  const values: boolean[] = [];
  const { stream, next } = watchActive(values);
  const first = next();
  set({ needed: undefined, active: true });
  await first;
  expect(values).toEqual([true]);
  stream.cancel();
});

it("refuses unknown models, other metrics and what is no message, with the reason", async () => {
  const { ask, target } = await scaler({ needed: 1, active: true });
  const unknown = toBinary(ScaledObjectRefSchema, target({ model: "no" }));
  await expect(ask("GetMetricSpec", unknown)).rejects.toMatchObject({
    code: status.NOT_FOUND,
    details: "no such model",
  });
  const other = create(GetMetricsRequestSchema, { scaledObjectRef: target(), metricName: "cpu" });
  await expect(ask("GetMetrics", toBinary(GetMetricsRequestSchema, other))).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    details: expect.stringContaining("there is no metric 'cpu'") as string,
  });
  await expect(ask("GetMetrics", new Uint8Array(0))).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
    details: expect.stringContaining("names no ScaledObject") as string,
  });
  await expect(ask("IsActive", Uint8Array.of(0xff, 0xff))).rejects.toMatchObject({
    code: status.INVALID_ARGUMENT,
  });
});

it("says UNIMPLEMENTED to methods of later versions of KEDA, which then does without them", async () => {
  const { ask } = await scaler({ needed: 1, active: true });
  await expect(ask("StreamMetricSpec", new Uint8Array(0))).rejects.toMatchObject({
    code: status.UNIMPLEMENTED,
  });
});
