import { expect, it } from "vitest";
import { type EndpointInfo, type Limits, LongshoreError, seededRandom, tensorOf } from "@longshore/core";
import { ratesOf } from "@longshore/core/internal";
import { endpointInfo, toyModel } from "../fixtures/toy-model.ts";
import { constantTrace } from "../trace/index.ts";
import { offloadWorld, type SimulatedEndpoint } from "./index.ts";

const x = tensorOf("x", "UINT8", [1, 100_000], new Uint8Array(100_000));
const callsOfWorld = 500;
/** 20 worlds are 10,000 calls. */
const worlds = Number(process.env["LONGSHORE_COST_WORLDS"] ?? 3);

/** Random prices, links and faults; some endpoints make no offers, and know no limits. */
async function broken(seed: number): Promise<{ readonly answered: number; readonly broken: number }> {
  const random = seededRandom(seed);
  const price = (most: number): number => (random.next() < 0.3 ? 0 : most * random.next() ** 3);
  const info = (id: string): EndpointInfo => ({
    ...endpointInfo(id, "edge"),
    offers: random.next() < 0.7,
    rates: ratesOf(
      {
        microsPerSecond: price(5000),
        microsPerRequest: price(50),
        microsPerMegabyteIn: price(500),
        microsPerMegabyteOut: price(5000),
        microsPerJoule: price(500),
        activeWatts: 2,
      },
      id,
    ),
  });
  /** The costs that endpoints report as paid, by call. */
  const billed = new Map<string, number>();
  const world = offloadWorld({
    models: [toyModel()],
    seed,
    logSpread: 0.4,
    device: {
      speed: 0.2 + random.next(),
      info: { ...info("device"), tier: "device", zone: "device", offers: true },
    },
    endpoints: ["a", "b", "c"].map((id) => {
      const trace = constantTrace(10 ** (5.5 + 2 * random.next()));
      return {
        info: info(id),
        speed: 1 + 9 * random.next(),
        up: trace,
        down: trace,
        delayMs: 1 + 40 * random.next(),
      };
    }),
    defaults: { dataClass: "public" },
    wrap: (inner): SimulatedEndpoint => ({
      ...inner,
      async infer(request, call, progress) {
        const response = await inner.infer(request, call, progress);
        billed.set(call.id, (billed.get(call.id) ?? 0) + response.account.costMicros);
        return response;
      },
    }),
  });
  const { clock, offloader, endpoints } = world;
  let [answered, overLimit] = [0, 0];
  const under = new Set<Promise<void>>();
  for (let count = 0; count < callsOfWorld; count++) {
    for (const { endpoint } of endpoints.values()) {
      const { faults } = endpoint;
      if (random.next() < 0.01) faults.down = !faults.down;
      if (random.next() < 0.01) faults.slowFactor = random.next() < 0.5 ? 1 : 1 + 4 * random.next();
      if (random.next() < 0.01) faults.failRatio = random.next() < 0.5 ? 0 : 0.5;
      if (random.next() < 0.01) faults.promiseFactor = random.next() < 0.5 ? 1 : 0.05;
    }
    const maxCostMicros = 400 * random.next() ** 3;
    const limits: Limits = {
      maxCostMicros,
      objective: random.next() < 0.5 ? "latency" : random.next() < 0.5 ? "cost" : "mean=1,cost=1",
      ...(random.next() < 0.5 ? { deadlineMs: 50 + 2000 * random.next() } : {}),
    };
    const asked = offloader.infer("toy", { x }, limits).then(
      ({ costMicros, accounts }) => {
        answered++;
        const paid = accounts.reduce((sum, one) => sum + one.costMicros, 0);
        if (Math.max(costMicros, paid) > maxCostMicros * (1 + 1e-9)) overLimit++;
      },
      (thrown: unknown) => {
        if (!LongshoreError.is(thrown)) throw thrown;
      },
    );
    under.add(asked);
    void asked.finally(() => under.delete(asked));
    await clock.advance(300 * random.next());
  }
  await clock.runUntil(Promise.all(under));
  expect(billed.size, "endpoints were paid").toBeGreaterThan(callsOfWorld / 10);
  return { answered, broken: overLimit };
}

it("never breaks maxCostMicros, with any prices, delays, outages or lies", async () => {
  let [answered, sum] = [0, 0];
  for (let world = 0; world < worlds; world++) {
    const outcome = await broken(1000 + world);
    answered += outcome.answered;
    sum += outcome.broken;
  }
  expect(sum).toBe(0);
  expect(answered).toBeGreaterThan((worlds * callsOfWorld) / 4);
}, 600_000);
