import { afterEach, describe, expect, it } from "vitest";
import {
  codecSet,
  type Endpoint,
  type LoadReport,
  LongshoreError,
  type Offloader,
  rawCodec,
  silentObserver,
} from "@longshore/core";
import { farmModel, farmEndpoint, type FarmEndpoint, farmRequest } from "@longshore/lab";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { createHandler, createLife, listen } from "@longshore/server";
import { openOffloader } from "./open-offloader.ts";

const open: { close(): Promise<unknown> }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close();
});

const clock = systemClock();
const model = farmModel([{ workMs: 1, size: 1 }]);

/**
 * An endpoint whose queue others fill: it reports `told` with every reply, and the wait of a request that comes is `waitingMs`.
 */
class Busy {
  toldMs = 0;
  waitingMs = 0;
  /** Of the others. */
  inFlight = 3;
  answers = 0;
  readonly bounds: (number | undefined)[] = [];
  readonly #endpoint: FarmEndpoint;
  readonly #always: boolean;

  constructor(speed: number, index: number, always = false) {
    this.#endpoint = farmEndpoint({ speed, slots: 1 }, index, model, clock);
    this.#always = always;
  }

  load = (): LoadReport => ({ atMs: 0, cpuRatio: 1, inFlight: this.inFlight, queueMs: this.toldMs });

  get endpoint(): Endpoint {
    const { endpoint } = this.#endpoint;
    return {
      ...endpoint,
      infer: async (request, call) => {
        this.bounds.push(call.mostWaitMs);
        if (this.#always || this.waitingMs > (call.mostWaitMs ?? Infinity)) {
          this.toldMs = this.waitingMs;
          throw new LongshoreError("busier", "admission", "others came first", { retryAfterMs: 1 });
        }
        this.answers++;
        return { ...(await endpoint.infer(request, call)), load: this.load() };
      },
    };
  }

  async address(): Promise<string> {
    const life = createLife();
    life.ready();
    const { endpoint, load } = this;
    const handler = createHandler({
      endpoint,
      life,
      codecs: codecSet(rawCodec),
      clock,
      observer: silentObserver,
      load,
    });
    const listening = await listen(handler, { clock, random: systemRandom(), port: 0 });
    open.push(listening);
    return listening.address;
  }
}

async function before(...endpoints: readonly Busy[]): Promise<() => Promise<void>> {
  const servers = await Promise.all(endpoints.map((busy) => busy.address()));
  const offloader: Offloader = await openOffloader({ servers });
  open.push(offloader);
  const x = farmRequest(model, { workMs: 1, size: 1 }).inputs.get("x");
  if (!x || "read" in x) throw new Error("a farm's request is a tensor x");
  const ask = async (): Promise<void> => void (await offloader.infer("work", { x }, { dataClass: "public" }));
  return ask;
}

describe("a server that others were quicker to", () => {
  it("does not take a request that would wait for longer than its sender believes; the sender goes elsewhere, once", async () => {
    // Slower by more than a machine that is busy otherwise holds up an answer.
    const [first, second] = [new Busy(1, 0), new Busy(0.0005, 1)];
    const ask = await before(first, second);
    // It hears that others send there.
    await ask();
    const beganWith = first.bounds.length;
    await ask();
    expect(first.bounds.at(-1)).toBeGreaterThan(0);
    expect(first.bounds.length).toBe(beganWith + 1);
    // Unseen, others fill it for longer than the other server takes.
    first.waitingMs = 1e6;
    const answered = second.answers;
    await ask();
    expect(second.answers).toBe(answered + 1);
  });

  it("is left alone where it takes nothing at all", async () => {
    const [never, second] = [new Busy(1, 0, true), new Busy(0.1, 1)];
    const ask = await before(never, second);
    for (let count = 0; count < 20; count++) await ask();
    expect(second.answers).toBe(20);
    expect(never.bounds.length).toBeLessThan(15);
  });

  it("gets no report if no other client sends", async () => {
    const [alone, other] = [new Busy(1, 0), new Busy(0.1, 1)];
    alone.inFlight = other.inFlight = 0;
    const ask = await before(alone, other);
    for (let count = 0; count < 5; count++) await ask();
    expect([...alone.bounds, ...other.bounds].every((bound) => bound === undefined)).toBe(true);
  });
});
