import { describe, expect, it } from "vitest";
import { housekeepingCall } from "../../words/base/index.ts";
import { manualClock, memoryTransport, tritonMetrics } from "@longshore/testkit";
import type { Handler } from "../transport/index.ts";
import { metricsLoad } from "./load-source.ts";

const call = housekeepingCall("load");
const nobody = { underWay: 0, finished: 0 };

function page(answer: (path: string) => string | undefined, silent = () => false) {
  const clock = manualClock();
  const asked: string[] = [];
  const handler: Handler = ({ path }) => {
    asked.push(path);
    if (silent()) return new Promise(() => undefined);
    const text = answer(path);
    const parts = [new TextEncoder().encode(text ?? "not found")];
    return Promise.resolve({
      status: text === undefined ? 404 : 200,
      headers: {},
      body: { kind: "parts", parts },
    });
  };
  const pages = ["/metrics", "/elsewhere"].map((path) => ({
    path,
    transport: memoryTransport(handler, { clock }),
  }));
  return { clock, asked, load: metricsLoad({ clock, pages }) };
}

const busy = tritonMetrics({ finished: 10, runSeconds: 0.5, waiting: 2 });

describe("reading a server's metrics", () => {
  it("finds the page with figures, keeps to it, and reads it once a second", async () => {
    const { clock, asked, load } = page((path) => (path === "/elsewhere" ? busy : undefined));
    expect(await load.read(nobody, call)).toMatchObject({ queueMs: 125 });
    expect(await load.read(nobody, call)).toBeUndefined();
    await clock.advance(999);
    expect(await load.read(nobody, call)).toBeUndefined();
    await clock.advance(1);
    expect(await load.read(nobody, call)).toMatchObject({ inFlight: 3 });
    expect(asked).toEqual(["/metrics", "/elsewhere", "/elsewhere"]);
    await load.close();
  });

  it("reads a server without figures again only after a minute", async () => {
    const { clock, asked, load } = page(() => undefined);
    expect(await load.read(nobody, call)).toBeUndefined();
    await clock.advance(59_000);
    expect(await load.read(nobody, call)).toBeUndefined();
    expect(asked).toHaveLength(2);
    await clock.advance(1000);
    await load.read(nobody, call);
    expect(asked).toHaveLength(4);
  });

  it("takes a server that is late to report, after an earlier report, for busy that long", async () => {
    let late = false;
    const { clock, load } = page(
      () => busy,
      () => late,
    );
    await load.read(nobody, call);
    await clock.advance(1000);
    late = true;
    const told = await clock.finish(load.read({ underWay: 2, finished: 0 }, call));
    expect(told).toMatchObject({ queueMs: 500, inFlight: 3 });
  });

  it("waits half a second for an answer, and for one at a time", async () => {
    const { clock, asked, load } = page(
      () => busy,
      () => true,
    );
    const reading = load.read(nobody, call);
    expect(await load.read(nobody, call)).toBeUndefined();
    expect(await clock.finish(reading)).toBeUndefined();
    expect(clock.nowMs()).toBe(1000);
    expect(asked).toHaveLength(2);
  });
});
