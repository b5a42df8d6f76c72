import { doubleDescription, doubleEndpoint, doubleOffer, manualClock } from "@longshore/testkit";
import { describe, expect, it, vi } from "vitest";
import { LongshoreError, seededRandom, silentObserver } from "../../words/base/index.ts";
import type { Endpoint, EndpointInfo } from "../../wire/endpoint/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { float32Tensor, tensorsOf } from "../../words/tensor/index.ts";
import { createOffloader } from "./create-offloader.ts";

const description = { ...doubleDescription({ name: "ocr" }), dataClass: "internal" };
const y = float32Tensor("y", [1, 3], Float32Array.of(2, 4, 6));
const x = float32Tensor("x", [1, 3], Float32Array.of(1, 2, 3));

/** An offloader over a device that takes 1 ms, an edge server 5 ms and a cloud 20 ms, unless they are broken. */
function store({ here = true, servers = true, missingBytes = 0 } = {}) {
  const broken = new Set<string>();
  const silent = new Set<string>();
  const prepared: string[] = [];
  const state = { missingBytes, fetches: undefined as (() => void) | undefined };
  const endpoint = (id: string, runMs: number, about: Partial<EndpointInfo>): Endpoint => {
    const info = { ...doubleEndpoint([]).info, ...about, id };
    const run = async () => {
      if (broken.has(id)) throw new LongshoreError("unreachable", "transport", `${id} is broken`);
      return tensorsOf(y);
    };
    const double = doubleEndpoint(
      [{ description, offers: [doubleOffer(description, info, runMs)], run }],
      info,
    );
    const answering = <T>(answer: Promise<T>): Promise<T> =>
      silent.has(id)
        ? Promise.reject(new LongshoreError("unreachable", "transport", `${id} is silent`))
        : answer;
    return {
      ...double,
      info,
      describe: (...asked) => answering(double.describe(...asked)),
      offers: (...asked) => answering(double.offers(...asked)),
      capabilities: {
        ...double.capabilities,
        async prepare({ variant }) {
          prepared.push(`${id} ${variant}`);
          if (id !== "device" || state.missingBytes === 0) return;
          await new Promise<void>((resolve) => (state.fetches = resolve));
          state.missingBytes = 0;
        },
        ...(id === "device" ? { lacks: () => state.missingBytes } : {}),
      },
    };
  };
  const clock = manualClock();
  const offloader = createOffloader({
    ...(here ? { local: endpoint("device", 1, { tier: "device", zone: "device" }) } : {}),
    endpoints: servers
      ? [endpoint("edge-1", 5, { tier: "edge" }), endpoint("cloud-1", 20, { tier: "cloud" })]
      : [],
    retry: { mostRounds: 0 },
    links: () => undefined,
    policy: tablePolicy({
      internal: { leastTrust: "none" },
      secret: { leastTrust: "none", zones: ["device"] },
    }),
    clock,
    random: seededRandom(1),
    observer: silentObserver,
  });
  return { offloader, broken, silent, prepared, state, clock };
}

describe("a request for some endpoints only", () => {
  it.each([
    ["device", "device"],
    ["edge", "edge-1"],
    ["cloud", "cloud-1"],
    [{ endpoint: "cloud-1" }, "cloud-1"],
  ] as const)("%o runs there, although others are faster", async (only, where) => {
    await using offloader = store().offloader;
    expect((await offloader.infer("ocr", x, { only })).where).toBe(where);
  });

  it("fails when those cannot run it, and no other endpoint is tried", async () => {
    const { offloader, broken } = store();
    broken.add("edge-1");
    await expect(offloader.infer("ocr", x, { only: "edge" })).rejects.toMatchObject({
      reason: "unreachable",
    });
    await expect(offloader.infer("ocr", x, { only: { endpoint: "none" } })).rejects.toMatchObject({
      reason: "no-endpoint",
      message: expect.stringContaining("the request is for endpoint none only"),
    });
    await offloader.close();
  });

  it("keeps the rules", async () => {
    await using offloader = store().offloader;
    const asked = offloader.infer("ocr", x, { only: "edge", dataClass: "secret" });
    await expect(asked).rejects.toMatchObject({ reason: "policy-denied" });
  });
});

describe("a request that prefers some endpoints", () => {
  it("runs there as long as one of them answers, and elsewhere otherwise", async () => {
    const { offloader, broken } = store();
    expect((await offloader.infer("ocr", x, { prefer: "cloud" })).where).toBe("cloud-1");
    broken.add("cloud-1");
    expect((await offloader.infer("ocr", x, { prefer: "cloud" })).where).toBe("device");
    expect((await offloader.infer("ocr", x, { prefer: { endpoint: "none" } })).where).toBe("device");
    await offloader.close();
  });

  it("gives way to rules", async () => {
    await using offloader = store().offloader;
    const result = await offloader.infer("ocr", x, { prefer: "cloud", dataClass: "secret" });
    expect(result.where).toBe("device");
  });
});

describe("prepare", () => {
  it("loads a model at each endpoint that a request may use", async () => {
    const { offloader, prepared } = store();
    await offloader.prepare("ocr");
    expect(prepared.splice(0).sort()).toEqual(["cloud-1 default", "device ", "edge-1 default"]);
    await offloader.prepare("ocr", { only: "edge" });
    expect(prepared.splice(0)).toEqual(["edge-1 default"]);
    await expect(offloader.prepare("ocr", { only: { endpoint: "none" } })).rejects.toMatchObject({
      reason: "no-endpoint",
    });
    await expect(offloader.prepare("none")).rejects.toMatchObject({ reason: "unknown-model" });
    await offloader.close();
    await expect(offloader.prepare("ocr")).rejects.toMatchObject({ reason: "shutting-down" });
  });
});

describe("availability", () => {
  it("tells that files have to be fetched, are being fetched, and are here", async () => {
    const { offloader, state } = store({ servers: false, missingBytes: 1000 });
    expect(await offloader.availability("ocr")).toBe("downloadable");
    const loading = offloader.prepare("ocr", { only: "device" });
    await vi.waitUntil(() => state.fetches, { timeout: 60_000 });
    expect(await offloader.availability("ocr")).toBe("downloading");
    state.fetches?.();
    await loading;
    expect(await offloader.availability("ocr")).toBe("available");
    await offloader.close();
    await expect(offloader.availability("ocr")).rejects.toMatchObject({ reason: "shutting-down" });
  });

  it("is available at the first question while a server has the model, whatever is to be fetched here", async () => {
    await using offloader = store({ missingBytes: 1000 }).offloader;
    expect(await offloader.availability("ocr")).toBe("available");
  });

  it("is available at the first question where only servers have the model", async () => {
    await using offloader = store({ here: false }).offloader;
    expect(await offloader.availability("ocr")).toBe("available");
  });

  it("is unavailable where no endpoint has the model", async () => {
    await using offloader = store({ here: false }).offloader;
    expect(await offloader.availability("none")).toBe("unavailable");
    expect(await offloader.availability("ocr", { version: "7" })).toBe("unavailable");
  });

  it("is unavailable while no server answers, and available once one answers again", async () => {
    const { offloader, silent, clock } = store({ here: false });
    silent.add("edge-1").add("cloud-1");
    expect(await clock.finish(offloader.availability("ocr"))).toBe("unavailable");
    silent.clear();
    await clock.advance(60_000);
    expect(await clock.finish(offloader.availability("ocr"))).toBe("available");
    // Minutes later, without a request meanwhile.
    silent.add("edge-1").add("cloud-1");
    await clock.advance(600_000);
    expect(await clock.finish(offloader.availability("ocr"))).toBe("unavailable");
    await offloader.close();
  });

  it("counts only endpoints that a request with these limits may use", async () => {
    const { offloader } = store({ missingBytes: 1000 });
    expect(await offloader.availability("ocr", { dataClass: "secret" })).toBe("downloadable");
    expect(await offloader.availability("ocr", { dataClass: "secret", only: "edge" })).toBe("unavailable");
    expect(await offloader.availability("ocr", { only: { endpoint: "cloud-1" } })).toBe("available");
    expect(await offloader.availability("ocr", { only: { endpoint: "none" } })).toBe("unavailable");
    await offloader.close();
  });

  it("gives up when its signal is aborted", async () => {
    await using offloader = store({ here: false }).offloader;
    const signal = AbortSignal.abort();
    await expect(offloader.availability("ocr", { signal })).rejects.toMatchObject({ reason: "cancelled" });
  });
});
