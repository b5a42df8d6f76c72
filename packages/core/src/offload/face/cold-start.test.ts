import {
  constantTrace,
  emulatedLink,
  farmModel,
  farmRequest,
  simulatedEndpoint,
  virtualClock,
} from "@longshore/lab";
import { describe, expect, it } from "vitest";
import { type Call, seededRandom, silentObserver, sleep } from "../../words/base/index.ts";
import type { Endpoint, EndpointInfo } from "../../wire/endpoint/index.ts";
import { linkBelief, linkModel } from "../../decide/estimate/index.ts";
import type { Segment } from "../../words/model/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { createOffloader } from "./create-offloader.ts";

const runMs = 100;
const model = farmModel([{ workMs: runMs, size: 1 }]);
const x = farmRequest(model, { workMs: runMs, size: 1 }).inputs.get("x");
if (!x || "read" in x) throw new Error("a farm's request is a tensor x");
const tensor = x;

const info = (id: string, tier: EndpointInfo["tier"]): EndpointInfo => ({
  id,
  tier,
  zone: "here",
  trust: "operated",
  codecs: ["raw"],
  state: "none",
  offers: true,
  rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 1 },
});

interface WorldOptions {
  /** For so long the first run at the server waits. */
  readonly loadMs: number;
  /** It can be asked to load. */
  readonly prepares?: boolean;
  /** Of the device; the server is ten times as quick. */
  readonly speed?: number;
  /** Between requests. */
  readonly everyMs?: number;
}

/** A device, and a server that has to load. */
function world({ loadMs, prepares = true, speed = 1, everyMs = 250 }: WorldOptions) {
  const clock = virtualClock();
  const random = seededRandom(1);
  const trace = constantTrace(50e6);
  const link = emulatedLink({ up: trace, down: trace, delayMs: 1, clock, random });
  const learner = linkBelief({ model: linkModel() });
  const device = simulatedEndpoint({ info: info("device", "device"), models: [model], clock, random, speed });
  const server = simulatedEndpoint({
    info: info("edge", "edge"),
    models: [model],
    clock,
    random,
    speed: 10 * speed,
    link,
    learner,
  });
  const asked = { runs: 0, prepares: 0 };
  let loaded: Promise<void> | undefined;
  const load = (): Promise<void> => (loaded ??= sleep(clock, loadMs));
  const edge: Endpoint = {
    ...server,
    ...(prepares
      ? {
          capabilities: {
            ...server.capabilities,
            prepare: (_segment: Segment, _call: Call) => {
              asked.prepares++;
              return load();
            },
          },
        }
      : {}),
    async infer(...given) {
      asked.runs++;
      await load();
      return server.infer(...given);
    },
  };
  const offloader = createOffloader({
    local: device,
    endpoints: [edge],
    policy: tablePolicy({ public: { leastTrust: "none" } }),
    clock,
    random,
    observer: silentObserver,
    links: () => learner,
  });
  /** So many requests: where each was answered, and after how long. */
  async function ask(count: number) {
    const answers: { readonly where: string; readonly tookMs: number }[] = [];
    for (let request = 0; request < count; request++) {
      const dueMs = clock.nowMs() + everyMs;
      const { where, tookMs } = await clock.runUntil(offloader.infer("work", { x: tensor }));
      answers.push({ where, tookMs });
      await clock.advance(Math.max(0, dueMs - clock.nowMs()));
    }
    return answers;
  }
  return { ask, asked, clock, server };
}

describe("a server that has to load the requested model", () => {
  it("loads at the next request, gets no requests meanwhile, and is used as soon as it has loaded", async () => {
    const { ask, asked } = world({ loadMs: 2000 });
    const answers = await ask(20);
    const first = answers.findIndex(({ where }) => where === "edge");
    expect(answers.map(({ where }) => where).slice(first)).toEqual(Array(20 - first).fill("edge"));
    // 2 s are eight requests.
    expect(first).toBeLessThan(11);
    // An endpoint that no request waits for is polled once in vain.
    expect([asked.prepares, asked.runs]).toEqual([1, 1 + 20 - first]);
    // Only the first has waited for it.
    expect(Math.max(...answers.slice(1).map(({ tookMs }) => tookMs))).toBeLessThan(1.5 * runMs);
  });

  it("counts as silent if it never finishes, and costs no more than one that cannot load", async () => {
    const lostIn = async (prepares: boolean): Promise<{ readonly lostMs: number; readonly runs: number }> => {
      const { ask, asked } = world({ loadMs: 1e9, prepares });
      const answers = await ask(80);
      expect(new Set(answers.map(({ where }) => where))).toEqual(new Set(["device"]));
      return { lostMs: answers.reduce((sum, { tookMs }) => sum + tookMs - runMs, 0), runs: asked.runs };
    };
    const [silent, loading] = [await lostIn(false), await lostIn(true)];
    expect(loading.lostMs).toBeLessThan(silent.lostMs + 3 * runMs);
    expect(loading.runs).toBeLessThanOrEqual(silent.runs + 1);
  });
});

it("a lone endpoint that failed is tried before its failure is forgotten, where requests can be answered here", async () => {
  const { ask, clock, server } = world({ loadMs: 0, prepares: false, speed: 4, everyMs: 30 });
  const where = async (count: number): Promise<string | undefined> => (await ask(count)).at(-1)?.where;
  expect(await where(40)).toBe("edge");
  server.faults.hang = true;
  expect(await where(20)).toBe("device");
  server.faults.hang = false;
  // The charge of 200 ms would still be 100, and it takes 20 s more until it is less than a run here.
  await clock.advance(10_000);
  let asked = 0;
  while ((await where(1)) !== "edge") expect(++asked).toBeLessThan(400);
});
