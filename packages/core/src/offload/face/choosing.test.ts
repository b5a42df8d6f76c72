import { doubleDescription, doubleEndpoint, doubleOffer, manualClock } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
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
    return {
      ...double,
      info,
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
    clock: manualClock(),
    random: seededRandom(1),
    observer: silentObserver,
  });
  return { offloader, broken, prepared, state };
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
    expect(offloader.availability("ocr")).toBe("unavailable");
    await expect.poll(() => offloader.availability("ocr"), { timeout: 2000 }).not.toBe("unavailable");
    expect(offloader.availability("ocr")).toBe("downloadable");
    const loading = offloader.prepare("ocr", { only: "device" });
    await expect.poll(() => state.fetches, { timeout: 2000 }).toBeDefined();
    expect(offloader.availability("ocr")).toBe("downloading");
    state.fetches?.();
    await loading;
    expect(offloader.availability("ocr")).toBe("available");
    await offloader.close();
  });

  it("is available while a server has it, whatever is to be fetched here", async () => {
    await using offloader = store({ missingBytes: 1000 }).offloader;
    offloader.availability("ocr");
    await expect.poll(() => offloader.availability("ocr"), { timeout: 2000 }).toBe("available");
  });

  it("is unavailable where no endpoint has the model", async () => {
    await using offloader = store({ here: false }).offloader;
    expect(offloader.availability("none")).toBe("unavailable");
  });
});
