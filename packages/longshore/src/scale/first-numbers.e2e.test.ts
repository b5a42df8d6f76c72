import { once } from "node:events";
import { createServer } from "node:http";
import { connect } from "node:http2";
import type { AddressInfo } from "node:net";
import { createInterface } from "node:readline";
import { setTimeout as wait } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { killAll, started } from "../../test/processes.ts";

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0)) await one.close();
  killAll();
});

/** A page of metrics whose counter grows by some requests a second; `undefined`: it takes questions and says nothing. */
async function source(perSecond: number | undefined): Promise<string> {
  const startedMs = performance.now();
  const server = createServer((_request, response) => {
    if (perSecond === undefined) return;
    const requests = 500 + Math.floor((perSecond * (performance.now() - startedMs)) / 1000);
    const buckets = ["0.1", "0.2", "+Inf"].map(
      (le, at) => `longshore_demand_run_seconds_bucket{model="m",le="${le}"} ${at === 0 ? 0 : requests}`,
    );
    const lines = [
      `longshore_demand_requests_total{model="m"} ${requests}`,
      ...buckets,
      `longshore_demand_run_seconds_sum{model="m"} ${0.15 * requests}`,
      `longshore_demand_occupied_seconds_total{model="m"} ${0.15 * requests}`,
    ];
    response.end(`${lines.join("\n")}\n`);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push({ close: () => server.close().closeAllConnections() });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** A message of strings, as `ScaledObjectRef` and `GetMetricsRequest` are. */
function message(...fields: readonly (readonly [number, string | Buffer])[]): Buffer {
  return Buffer.concat(
    fields.map(([number, value]) => {
      const bytes = Buffer.from(value);
      return Buffer.concat([Buffer.of((number << 3) | 2, bytes.byteLength), bytes]);
    }),
  );
}

function targetOf(objective: string | undefined): Buffer {
  const metadata: readonly (readonly [number, Buffer])[] =
    objective === undefined ? [] : [[3, message([1, "objective"], [2, objective])]];
  return message([1, "m"], [2, "shop"], ...metadata);
}

const unavailable = 14;

/** The scaler as KEDA asks it: an answer's bytes, or the code of a gRPC status. */
function keda(address: string) {
  const session = connect(`http://${address}`);
  open.push({ close: () => session.destroy() });
  const ask = async (method: string, asked: Buffer): Promise<Buffer | number> => {
    const stream = session.request({
      ":method": "POST",
      ":path": `/externalscaler.ExternalScaler/${method}`,
      "content-type": "application/grpc",
      te: "trailers",
    });
    const head = Buffer.alloc(5);
    head.writeUInt32BE(asked.byteLength, 1);
    stream.end(Buffer.concat([head, asked]));
    let code = 0;
    const told = (headers: object): void => {
      const { "grpc-status": text } = headers as { readonly "grpc-status"?: string };
      if (text !== undefined) code = Number(text);
    };
    stream.on("response", told).on("trailers", told);
    const parts: Buffer[] = [];
    for await (const part of stream) parts.push(part as Buffer);
    return code === 0 ? Buffer.concat(parts).subarray(5) : code;
  };
  return {
    /** Undefined: UNAVAILABLE. */
    async active(objective?: string): Promise<boolean | undefined> {
      const answer = await ask("IsActive", targetOf(objective));
      if (typeof answer !== "number") return answer.byteLength > 0 && answer[1] === 1;
      expect(answer).toBe(unavailable);
      return undefined;
    },
    async needed(objective?: string): Promise<number | undefined> {
      const asked = message([1, targetOf(objective)], [2, "longshore-needed-endpoints"]);
      const answer = await ask("GetMetrics", asked);
      if (typeof answer === "number") {
        expect(answer).toBe(unavailable);
        return undefined;
      }
      // The last field of the value is its double.
      return answer.readDoubleLE(answer.byteLength - 8);
    },
    async hasSpec(objective?: string): Promise<boolean> {
      return typeof (await ask("GetMetricSpec", targetOf(objective))) !== "number";
    },
  };
}

/** The scaler in a process of its own, from its first moment. */
async function scaler(...sources: readonly string[]) {
  const at = sources.flatMap((one) => ["--at", one]);
  const { child } = started("scale", ...at, "--objective", "p95=1s", "--port", "0", "--json");
  const [line] = (await once(createInterface({ input: child.stdout }), "line")) as [string];
  return keda((JSON.parse(line) as { readonly listening: string }).listening);
}

it("tells KEDA neither idleness nor 0 before it knows, also for an objective that is stated later", async () => {
  const scale = await scaler(await source(20), await source(undefined));
  const seen: { readonly active: boolean | undefined; readonly needed: number | undefined }[] = [];
  const untilKnown = async (objective?: string): Promise<number> => {
    for (let round = 0; round < 600; round++) {
      expect(await scale.hasSpec(objective)).toBe(true);
      const [active, needed] = [await scale.active(objective), await scale.needed(objective)];
      seen.push({ active, needed });
      if (needed !== undefined) return round;
      await wait(100);
    }
    throw new Error("the number is never known");
  };
  expect(await untilKnown()).toBeGreaterThan(0);
  expect(await untilKnown("p95=400ms")).toBe(0);
  expect(seen.filter(({ active }) => active === false)).toEqual([]);
  expect(seen.filter(({ needed }) => needed === 0)).toEqual([]);
}, 120_000);
