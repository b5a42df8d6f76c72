import { describe, expect, it } from "vitest";
import {
  type Endpoint,
  type EndpointCapabilities,
  type InferenceRequest,
  LongshoreError,
  type Progress,
} from "@longshore/core";
import { certain, housekeepingCall } from "@longshore/core/internal";
import { doubleDescription, doubleEndpoint, doubleOffer } from "./double-endpoint.ts";

/** The name of a capability. */
type Capability = keyof EndpointCapabilities;

/** A wrapper of endpoints, with what it does on purpose. */
export interface WrapperUnderTest {
  wrap(inner: Endpoint): Endpoint | Promise<Endpoint>;
  /** Capabilities that it takes away. */
  readonly removes?: readonly Capability[];
  /** Capabilities that it has of its own, whatever the inner endpoint has. */
  readonly adds?: readonly Capability[];
  /** Capabilities that it replaces, if the inner endpoint has them. */
  readonly replaces?: readonly Capability[];
  /** Closing it leaves the inner endpoint open. */
  readonly keepsOpen?: true;
}

const call = housekeepingCall("test");
const description = doubleDescription({ name: "double" });
/** With a price, for wrappers that count it. */
const priced = { rates: { microsPerSecond: 1, microsPerMegabyte: 0, activeWatts: 0 } };
const plain = doubleEndpoint([], priced);
const { segment } = doubleOffer(description, plain.info, 5);
const request: InferenceRequest = {
  segment,
  inputs: new Map(),
  codecs: { x: "fp16" },
  outputs: ["y"],
  classes: new Map([["y", 3]]),
  leastAgreementRatio: 0.5,
  explained: true,
};
const refusal = new LongshoreError("queue-full", "queue", "the test refuses it", { retryAfterMs: 7 });
const loadMs = 600;
const pass: Disposable = { [Symbol.dispose]: () => undefined };

/** One question to each capability. The type demands all of them, so a capability that the seam gets later does not compile without one. */
const questions: {
  readonly [Name in Capability]-?: (capabilities: EndpointCapabilities) => unknown;
} = {
  known: ({ known }) => known?.("double", undefined, call),
  missing: ({ missing }) => missing?.({ model: "double" }, call),
  sequence: ({ sequence }) =>
    sequence?.({ model: "double", version: "1", digest: description.digest, id: "s" }, call),
  vacant: ({ vacant }) => vacant?.(),
  ready: ({ ready }) => ready?.("double", undefined, call),
  inferStream: async ({ inferStream }) => {
    const answers: unknown[] = [];
    for await (const answer of inferStream?.(request, call) ?? []) answers.push(answer);
    return answers;
  },
  admit: ({ admit }) => admit?.(segment, call, 0.5),
  prepare: ({ prepare }) => prepare?.(segment, call).then(() => "loaded"),
  lacks: ({ lacks }) => lacks?.(segment),
  loaded: ({ loaded }) => loaded?.(segment),
  loadMs: (capabilities) => capabilities.loadMs?.(segment),
  connecting: ({ connecting }) => connecting?.(true),
  explain: ({ explain }) => explain?.({ model: "double" }, call),
  models: ({ models }) => models?.(call),
  probe: ({ probe }) => probe?.(100, call),
  loadEveryMs: ({ loadEveryMs }) => loadEveryMs?.(),
  sendsOn: ({ sendsOn }) => sendsOn,
  forwardsTenants: ({ forwardsTenants }) => forwardsTenants,
  forgetsInputs: ({ forgetsInputs }) => forgetsInputs,
};
const names = Object.keys(questions) as readonly Capability[];

/** An endpoint with every capability there is, which notes what it is asked to load and run. */
function capable() {
  const offer = { ...doubleOffer(description, plain.info, 5), loadMs };
  const double = doubleEndpoint([{ description, offers: [offer], run: () => new Map() }], priced);
  const ran: InferenceRequest[] = [];
  const prepared: string[] = [];
  const refuses = { now: false };
  const capabilities: Required<EndpointCapabilities> = {
    known: () => ({ description }),
    missing: () => [{ zones: ["eu"], trust: "operated" }],
    sequence: () => Promise.resolve({ step: 3, ended: false, idleMs: 4 }),
    vacant: () => true,
    ready: () => Promise.resolve(true),
    async *inferStream(asked, own) {
      yield await double.infer(asked, own);
    },
    admit: () => pass,
    prepare: ({ model }) => Promise.resolve(void prepared.push(model)),
    lacks: () => 7,
    loaded: () => false,
    loadMs: () => loadMs,
    connecting: (stream) => ({ roundTrips: stream === true ? 3 : 2 }),
    explain: () => Promise.resolve({ because: "the test says so", lost: [] }),
    models: () => Promise.resolve([{ name: "double", version: "1", state: "READY", reason: "" }]),
    probe: (bytes) => Promise.resolve({ atMs: bytes, cpuRatio: 0.5, inFlight: 1, queueMs: 2 }),
    loadEveryMs: () => 1000,
    sendsOn: true,
    forwardsTenants: true,
    forgetsInputs: true,
  };
  const inner: Endpoint = {
    info: double.info,
    describe: double.describe,
    offers: double.offers,
    infer(asked, own, progress) {
      if (refuses.now) return Promise.reject(refusal);
      ran.push(asked);
      progress?.acknowledged(11);
      progress?.onItsWay?.({ remainingMs: () => certain(5), quiet: () => false });
      progress?.refused?.({ atMs: 0, cpuRatio: 1, inFlight: 9, queueMs: 8 });
      return double.infer(asked, own);
    },
    close: double.close,
    capabilities,
  };
  return { inner, double, ran, prepared, refuses };
}

/** The contract of wrappers: a wrapper passes on every member and capability of its endpoint that it does not replace. */
export function wrapperContract(name: string, subject: WrapperUnderTest): void {
  const { removes = [], adds = [], replaces = [] } = subject;

  describe(`the wrapper ${name}`, () => {
    it.each(names)("passes on the capability %s", async (capability) => {
      const { inner, prepared } = capable();
      const { capabilities } = await subject.wrap(inner);
      if (removes.includes(capability)) {
        expect(capabilities).not.toHaveProperty(capability);
        return;
      }
      expect(capabilities).toHaveProperty(capability);
      if (adds.includes(capability) || replaces.includes(capability)) return;
      const ask = questions[capability];
      expect(await ask(capabilities)).toEqual(await ask(inner.capabilities));
      expect(prepared).toEqual(capability === "prepare" ? ["double", "double"] : []);
    });

    it("claims no capability that the endpoint lacks", async () => {
      const { capabilities } = await subject.wrap({ ...capable().inner, capabilities: {} });
      expect(Object.keys(capabilities).sort()).toEqual([...adds].sort());
    });

    it("hands on a request as it is, and its progress", async () => {
      const { inner, ran } = capable();
      const heard: unknown[] = [];
      const progress: Progress = {
        acknowledged: (bytes) => void heard.push(bytes),
        onItsWay: () => void heard.push("on its way"),
        refused: ({ inFlight }) => void heard.push(`refused with ${inFlight}`),
      };
      await (await subject.wrap(inner)).infer(request, call, progress);
      expect(ran).toEqual([request]);
      expect(heard).toEqual([11, "on its way", "refused with 9"]);
    });

    it("tells the description, and the load that an offer tells of", async () => {
      const { inner } = capable();
      const wrapped = await subject.wrap(inner);
      expect(wrapped.info).toEqual(inner.info);
      expect((await wrapped.describe("double", undefined, call))?.description).toEqual(description);
      expect(await wrapped.describe("other", undefined, call)).toBeUndefined();
      const offers = await wrapped.offers({ model: "double" }, call);
      expect(offers.map((offer) => offer.loadMs)).toEqual([loadMs]);
    });

    it("hands on an error with its reason and advice", async () => {
      const { inner, refuses } = capable();
      refuses.now = true;
      await expect((await subject.wrap(inner)).infer(request, call)).rejects.toBe(refusal);
    });

    it(subject.keepsOpen ? "leaves the endpoint open" : "closes the endpoint", async () => {
      const { inner, double } = capable();
      await (await subject.wrap(inner)).close();
      expect(double.closed).toBe(subject.keepsOpen !== true);
    });
  });
}
