import { createServer, type IncomingMessage, type Server } from "node:http";
import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it } from "vitest";
import { float32Tensor, float32View, type Inputs, isInfeasible } from "@longshore/core";
import { kserveMetrics, mlserverMetrics, tritonMetrics } from "@longshore/testkit";
import { gateway } from "./forwarding.ts";
import { openOffloader } from "./open-offloader.ts";

const open: { close(): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

async function bodyOf(request: IncomingMessage): Promise<string> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

interface Plain {
  readonly address: string;
  readonly port: number;
  asked: number;
  /** A model whose runs fail there. */
  broken?: string;
  /** A model that is not ready there. */
  unready?: string;
  /** Settles when its metrics were read. */
  readonly read: Promise<void>;
}

async function listening(server: Server): Promise<number> {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push({ close: () => server.closeAllConnections() });
  open.push(server);
  return (server.address() as AddressInfo).port;
}

/** A server of the plain protocol with two models that double numbers, which says how busy it is in its metrics only. */
async function plain(metrics: (() => string) | undefined): Promise<Plain> {
  let told = (): void => undefined;
  const read = new Promise<void>((resolve) => {
    told = resolve;
  });
  const json = (value: object): string => JSON.stringify(value);
  const ports = (name: string): object[] => [{ name, datatype: "FP32", shape: [-1, 3] }];
  const server = createServer((request, response) => {
    const answer = (status: number, text: string): void => void response.writeHead(status).end(text);
    if (request.url === "/metrics" && metrics) {
      answer(200, metrics());
      told();
      return;
    }
    const [, name, rest] = /^\/v2\/models\/([mn])(.*)$/.exec(request.url ?? "") ?? [];
    if (name && rest === "") {
      answer(200, json({ name, versions: ["1"], inputs: ports("x"), outputs: ports("y") }));
    } else if (name && request.method === "POST" && rest === "/versions/1/infer") {
      endpoint.asked++;
      if (name === endpoint.broken) {
        request.resume();
        answer(500, json({ error: "CUDA error: an illegal memory access was encountered" }));
        return;
      }
      if (name === endpoint.unready) {
        request.resume();
        answer(503, json({ error: `Model with name ${name} is not ready.` }));
        return;
      }
      void bodyOf(request).then((text) => {
        const { inputs } = JSON.parse(text) as { inputs: { data: number[] }[] };
        const data = inputs[0]?.data.map((value) => 2 * value);
        answer(
          200,
          json({ model_name: name, outputs: [{ name: "y", datatype: "FP32", shape: [1, 3], data }] }),
        );
      });
    } else answer(404, json({ error: `nothing at ${request.url}` }));
  });
  const port = await listening(server);
  const endpoint: Plain = { address: `http://127.0.0.1:${port}`, port, asked: 0, read };
  return endpoint;
}

const x: Inputs = { x: float32Tensor("x", [1, 3], Float32Array.of(1, 2, 3)) };

async function over(endpoints: readonly Plain[], metrics?: string) {
  const servers = endpoints.map(({ address }) => ({
    address,
    kind: "json" as const,
    trust: "operated" as const,
    ...(metrics === undefined ? {} : { metrics }),
  }));
  const offloader = await openOffloader({ servers, defaults: { dataClass: "public" } });
  open.push(offloader);
  const ask = async (model = "m"): Promise<void> => {
    const { outputs } = await offloader.infer(model, x);
    expect([...float32View(outputs.get("y")!)]).toEqual([2, 4, 6]);
  };
  return { ask, offloader };
}

const counts = { finished: 100, runSeconds: 2 };

it.each([
  ["Triton", () => tritonMetrics({ ...counts, waiting: 20_000 }), () => tritonMetrics(counts)],
  ["MLServer", () => mlserverMetrics({ ...counts, inFlight: 20_000 }), () => mlserverMetrics(counts)],
])("sends past a %s whose metrics say that many wait there", async (_name, busy, idle) => {
  const endpoints = [await plain(busy), await plain(idle)];
  const { ask, offloader } = await over(endpoints);
  await ask();
  await Promise.all(endpoints.map(({ read }) => read));
  await offloader.refresh();
  const before = endpoints.map(({ asked }) => asked);
  for (let round = 0; round < 20; round++) await ask();
  expect(endpoints.map(({ asked }, at) => asked - (before[at] ?? 0))).toEqual([0, 20]);
});

it("derives the time of a run there from the server's counts, before any request", async () => {
  const { offloader } = await over([await plain(() => kserveMetrics({ finished: 10, runSeconds: 7 }))]);
  const plan = await offloader.explain("m", x);
  expect(isInfeasible(plan) ? plan : plan.legs[0]?.travels?.promisedMs).toBe(700);
});

it("answers nevertheless if a server shows no metrics, or they are not wanted", async () => {
  const silent = await plain(undefined);
  await (await over([silent])).ask();
  const endpoint = await plain(() => {
    throw new Error("nobody is to read this");
  });
  await (await over([endpoint], "none")).ask();
  await expect(over([endpoint], "8002")).rejects.toMatchObject({ reason: "invalid-configuration" });
});

it("reads metrics from the port that is named", async () => {
  const endpoint = await plain(undefined);
  let told = (): void => undefined;
  const read = new Promise<void>((resolve) => {
    told = resolve;
  });
  const port = await listening(
    createServer((request, response) => {
      response.end(request.url === "/stats/metrics" ? tritonMetrics(counts) : "");
      told();
    }),
  );
  const { ask } = await over([endpoint], `:${port}/stats/metrics`);
  await ask();
  await read;
});

it("leaves a server alone for the model that is not ready there, and not for its other one", async () => {
  const endpoint = await plain(undefined);
  endpoint.unready = "n";
  const { ask, offloader } = await over([endpoint]);
  await ask();
  const beganMs = performance.now();
  await expect(ask("n")).rejects.toMatchObject({ reason: "rejected" });
  await ask();
  const nobody = ask("n").then(
    () => "answered",
    (thrown: unknown) => String(thrown),
  );
  // Where the machine was slow the pause may be over.
  const told = (await nobody).includes("of version 1 of n: it refused for load (rejected)");
  expect(told || performance.now() - beganMs > 100).toBe(true);
  await offloader.close();
});

it("leaves a server alone for the model whose runs fail there, and not for its other one", async () => {
  const endpoints = [await plain(undefined), await plain(undefined)];
  const { ask, offloader } = await over(endpoints);
  const askedOf = async (model: string, count: number): Promise<readonly number[]> => {
    const before = endpoints.map(({ asked }) => asked);
    for (let round = 0; round < count; round++) await ask(model);
    return endpoints.map(({ asked }, at) => asked - (before[at] ?? 0));
  };
  await ask("n");
  const used = await askedOf("m", 20);
  const at = used.indexOf(Math.max(...used));
  const broken = endpoints[at];
  if (!broken) throw new Error("one of them was asked");
  broken.broken = "m";
  // Each is answered; once the failing endpoint is known, hardly any request goes there, and an event reports the pause.
  const before = endpoints.map(({ asked }) => asked);
  const told: string[] = [];
  for (let round = 0; round < 20; round++) {
    await ask("m");
    told.push(JSON.stringify((await offloader.explain("m", x)).lost));
  }
  const asked = endpoints.map((endpoint, index) => endpoint.asked - (before[index] ?? 0));
  // Less and less often: how often at all, a slow machine makes more.
  expect(asked[at]).toBeLessThan(10);
  expect(asked[1 - at]).toBe(20);
  expect(told.some((lost) => lost.includes("of version 1 of m: it failed"))).toBe(true);
  const well = await offloader.explain("n", x);
  expect(isInfeasible(well) ? [] : well.lost.filter(({ why }) => why.kind === "score")).toHaveLength(1);
  // A server that is gone is left alone for all of its models at once, and the other still is for one of them only.
  await Promise.all(open.splice(2 * (1 - at), 2).map((one) => one.close()));
  expect((await askedOf("n", 20))[at]).toBe(20);
  await expect(ask("m")).rejects.toThrow(/CUDA error|no connection/);
});

/** A Triton with versions of one model, which multiply by their numbers, of which one may be loaded and unloaded. */
async function versioned(...loaded: string[]) {
  const known = new Set(loaded);
  const named = (name: string): object => ({ name, datatype: "FP32", shape: [-1, 3] });
  const server = createServer((request, response) => {
    const answer = (status: number, value: object): void =>
      void response.writeHead(status).end(JSON.stringify(value));
    const [of, asked, rest] =
      /^\/v2\/models\/m(?:\/versions\/(\d+))?(\/infer)?$/.exec(request.url ?? "") ?? [];
    const newest = loaded.toSorted((one, other) => Number(other) - Number(one))[0] ?? "";
    const version = asked ?? newest;
    if (of === undefined) answer(404, { error: "not found" });
    else if (!loaded.includes(version)) {
      const why = known.has(version) ? `version ${version} is not at ready state` : "it is not found";
      answer(known.has(version) ? 503 : 404, { error: `Request for unknown model: 'm' ${why}` });
    } else if (rest === undefined) {
      answer(200, { name: "m", versions: loaded, inputs: [named("x")], outputs: [named("y")] });
    } else {
      void bodyOf(request).then((text) => {
        const { inputs } = JSON.parse(text) as { inputs: { data: number[] }[] };
        const data = inputs[0]?.data.map((value) => Number(version) * value);
        answer(200, { model_name: "m", outputs: [{ ...named("y"), shape: [1, 3], data }] });
      });
    }
  });
  const address = `http://127.0.0.1:${await listening(server)}`;
  const offloader = await openOffloader({
    servers: [{ address, kind: "json", trust: "operated", metrics: "none" }],
    defaults: { dataClass: "public" },
  });
  open.push(offloader);
  const first = async (): Promise<number | undefined> =>
    float32View((await offloader.infer("m", x)).outputs.get("y")!)[0];
  return {
    address,
    offloader,
    first,
    load(version: string) {
      loaded.push(version);
      known.add(version);
    },
    unload: (version: string) => void loaded.splice(loaded.indexOf(version), 1),
  };
}

it("goes on to the newest version that a server has loaded since", async () => {
  const { offloader, first, load } = await versioned("1");
  expect(await first()).toBe(1);
  load("2");
  await offloader.refresh();
  expect(await first()).toBe(2);
});

it("reads a Triton's index again after it unloaded the requested version", async () => {
  const { first, load, unload } = await versioned("1");
  expect(await first()).toBe(1);
  load("2");
  unload("1");
  expect(await first()).toBe(2);
});

it("answers requests without a version at a gateway when the server has moved to another one", async () => {
  const { address, load, unload } = await versioned("1");
  const servers = [{ address, kind: "json", metrics: "none" }] as const;
  const gate = await gateway({ port: 0, dataClass: "internal", servers });
  open.push(gate);
  const ask = async (version = ""): Promise<unknown> => {
    const inputs = [{ name: "x", datatype: "FP32", shape: [1, 3], data: [1, 2, 3] }];
    const path = `${gate.address}/v2/models/m${version}/infer`;
    const reply = await fetch(path, { method: "POST", body: JSON.stringify({ inputs }) });
    const { model_version, outputs } = (await reply.json()) as {
      model_version?: string;
      outputs?: { data: number[] }[];
    };
    return [reply.status, model_version, outputs?.[0]?.data[0]];
  };
  expect(await ask()).toEqual([200, "1", 1]);
  load("2");
  unload("1");
  expect(await ask()).toEqual([200, "2", 2]);
  // A request that names a version gets no other one.
  expect(await ask("/versions/1")).toEqual([404, undefined, undefined]);
  expect(await ask("/versions/2")).toEqual([200, "2", 2]);
});
