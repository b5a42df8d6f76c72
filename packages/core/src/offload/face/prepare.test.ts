import { doubleDescription, doubleEndpoint, doubleOffer, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { housekeepingCall, LongshoreError, seededRandom, silentObserver } from "../../words/base/index.ts";
import type { Endpoint, EndpointInfo } from "../../wire/endpoint/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { offloadEndpoint } from "./offload-endpoint.ts";

const description = doubleDescription({ name: "ocr" });
const variant = { body: { kind: "graph", file: "model.onnx" }, agreementRatio: 1 } as const;
const segment = { model: "ocr", version: "1", digest: description.digest, from: "start", to: "end" };
const call = housekeepingCall("test");

/** A gateway before endpoints that note what they are to load, each with the variants that it offers; all where it offers nothing yet. */
function before(
  variantsByEndpoint: Readonly<Record<string, readonly string[]>>,
  about: Readonly<Record<string, Partial<EndpointInfo>>> = {},
) {
  const asked: string[] = [];
  const paths: (readonly string[])[] = [];
  const failing = new Set<string>();
  const unable = new Set<string>();
  const endpoints = Object.entries(variantsByEndpoint).map(([id, variants]): Endpoint => {
    const own = {
      ...description,
      variants: ["default", "int8"].map((name) => ({ ...variant, name })),
    };
    const double = doubleEndpoint([], { ...about[id], id });
    const offer = doubleOffer(own, double.info, 5);
    return {
      ...double,
      info: double.info,
      describe: async (model) => (model === "ocr" ? { description: own } : undefined),
      offers: async () => variants.map((name) => ({ ...offer, segment: { ...segment, variant: name } })),
      capabilities: {
        ...double.capabilities,
        async prepare(one, { path }) {
          paths.push(path);
          asked.push(`${id} ${one.variant}`);
          if (failing.has(id)) throw new LongshoreError("invalid-model", "resolve", `${id} cannot`);
          if (unable.has(id))
            throw new LongshoreError("unsupported", "resolve", `${id} loads at its first run`);
        },
      },
    };
  });
  const gateway = offloadEndpoint({
    info: { ...doubleEndpoint([]).info, id: "gateway" },
    endpoints,
    links: () => undefined,
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock: manualClock(),
    random: seededRandom(1),
    observer: silentObserver,
  });
  return { gateway, asked, paths, failing, unable };
}

it("a gateway has what is wanted in any variant loaded at every endpoint that serves it, as each offers it", async () => {
  const { gateway, asked, failing } = before({ one: ["default", "int8"], two: ["int8"], fresh: [] });
  await gateway.capabilities.prepare?.({ ...segment, variant: "" }, call);
  expect(asked.splice(0).sort()).toEqual([
    "fresh default",
    "fresh int8",
    "one default",
    "one int8",
    "two int8",
  ]);
  // A sender that names a variant plans with the endpoints itself, and nothing runs at the gateway.
  await expect(gateway.capabilities.prepare?.({ ...segment, variant: "int8" }, call)).rejects.toMatchObject({
    reason: "unsupported",
  });
  expect(asked).toEqual([]);
  failing.add("one");
  await gateway.capabilities.prepare?.({ ...segment, variant: "" }, call);
  for (const id of ["two", "fresh"]) failing.add(id);
  await expect(gateway.capabilities.prepare?.({ ...segment, variant: "" }, call)).rejects.toMatchObject({
    reason: "invalid-model",
  });
  await expect(
    gateway.capabilities.prepare?.({ ...segment, model: "none", variant: "" }, call),
  ).rejects.toMatchObject({
    reason: "unknown-model",
  });
  await gateway.close();
});

it("a gateway has nothing loaded where the rules permit no request, nor at the caller", async () => {
  const variantsByEndpoint = {
    one: ["default"],
    far: ["default"],
    loose: ["default"],
    phone: ["default"],
    back: ["default"],
  };
  const { gateway, asked, paths } = before(variantsByEndpoint, {
    one: { zone: "eu/berlin", trust: "operated" },
    far: { zone: "us", trust: "operated" },
    loose: { zone: "eu", trust: "listed" },
    phone: { zone: "device", trust: "operated" },
    back: { zone: "eu", trust: "operated" },
  });
  const rules = { dataClass: "internal", leastTrust: "operated", zones: ["eu", "device"] } as const;
  const asking = { ...call, rules, path: ["back"] };
  await gateway.capabilities.prepare?.({ ...segment, variant: "" }, asking);
  expect([asked, paths]).toEqual([["one default"], [["back", "gateway"]]]);
  const nowhere = { ...asking, rules: { ...rules, zones: ["asia"] } };
  await expect(gateway.capabilities.prepare?.({ ...segment, variant: "" }, nowhere)).rejects.toMatchObject({
    reason: "no-endpoint",
  });
  await gateway.close();
});

it("an endpoint that cannot load in advance is no failure of what is loaded at others", async () => {
  const { gateway, unable } = before({ one: ["default"], two: ["default"] });
  for (const id of ["one", "two"]) unable.add(id);
  await gateway.capabilities.prepare?.({ ...segment, variant: "" }, call);
  await gateway.close();
});
