import { describe, expect, it } from "vitest";
import { constantTrace, plainModel } from "@longshore/lab";
import type { ObservedExchange } from "./exchange-watch.ts";
import { figuresOf, observed } from "./observed.ts";
import { whatIfText } from "./report.ts";
import { whatIf } from "./what-if.ts";

const path = "/v2/models/m/versions/1/infer?x=1";

function exchange(change: Partial<ObservedExchange> & { readonly atMs: number }): ObservedExchange {
  const { atMs } = change;
  return {
    client: "10.0.0.1",
    method: "POST",
    path,
    status: 200,
    sentMs: atMs + 2,
    answeredMs: atMs + 22,
    endedMs: atMs + 23,
    requestBytes: 60_000,
    replyBytes: 100,
    ...change,
  };
}

/** One request after the other, a second apart. */
function calm(count: number): ReturnType<typeof observed> {
  const seen = observed();
  for (let index = 0; index < count; index++) {
    seen.began(path);
    seen.ended(exchange({ atMs: 1000 * index }));
  }
  return seen;
}

describe("the traffic of a server", () => {
  it("is reported by model, with the run times of requests that met no other", () => {
    const seen = calm(6);
    // Two that match, one that fails, one that is never answered, and another kind of request.
    seen.began(path);
    seen.began(path);
    seen.ended(exchange({ atMs: 6000, answeredMs: 6100, endedMs: 6100, client: "10.0.0.2" }));
    seen.ended(exchange({ atMs: 6010, answeredMs: 6150, endedMs: 6150 }));
    seen.began(path);
    seen.ended(exchange({ atMs: 7000, status: 503 }));
    seen.began(path);
    seen.broke(path, 9000);
    seen.began("/v2/health/ready");
    seen.ended(exchange({ atMs: 9000, path: "/v2/health/ready", method: "GET" }));
    const [model] = seen.models();
    expect(figuresOf(model!)).toMatchObject({
      model: "m",
      requests: 10,
      failed: 2,
      clients: 2,
      requestBytes: 60_000,
      replyBytes: 100,
      runMs: 20,
      runFrom: "requests that met no other",
    });
    expect(seen.others).toBe(1);
  });

  it.each([
    ["/v2/models/m/versions/1/infer", "m"],
    ["/v2/models/a%20b/generate", "a b"],
    ["/v1/models/m:predict", "m"],
    ["/v1/models/m/versions/3:predict?x=1", "m"],
    ["/v1/models/m/labels/stable:classify", "m"],
    ["/predictions/m/2.0", "m"],
    ["/predict", "predict"],
    ["/invocations", "invocations"],
    ["/v1/models/m", undefined],
    ["/v1/models/m:explain", undefined],
    ["/v2/models/m/config", undefined],
    ["/predict/health", undefined],
  ])("takes %s for an inference of %s", (asked, name) => {
    const seen = observed();
    seen.began(asked);
    seen.ended(exchange({ atMs: 1, path: asked }));
    expect([seen.models().map(({ model }) => model), seen.others]).toEqual(
      name === undefined ? [[], 1] : [[name], 0],
    );
  });

  it("takes the quickest quarter where requests always meet", () => {
    const seen = observed();
    seen.began(path);
    for (let index = 0; index < 8; index++) {
      seen.began(path);
      seen.ended(exchange({ atMs: 10 * index, answeredMs: 10 * index + 12 + index }));
    }
    const figures = figuresOf(seen.models()[0]!);
    expect(figures).toMatchObject({ runMs: 11.75, runFrom: "the quickest quarter" });
    expect(figuresOf({ model: "none", requests: 1, failed: 1, rows: [] })).toBeUndefined();
  });
});

describe("models that are kept", () => {
  it("are those that answer, with any number of unknown names", () => {
    const seen = observed();
    const ask = (name: string, status: number): void => {
      const asked = `/v2/models/${name}/infer`;
      seen.began(asked);
      seen.ended(exchange({ atMs: 1, path: asked, status }));
    };
    ask("first", 200);
    for (let index = 0; index < 300; index++) ask(`none-${index}`, 404);
    ask("second", 200);
    const answered = seen.models().filter(({ rows }) => rows.length > 0);
    expect(answered.map(({ model }) => model)).toEqual(["first", "second"]);
    expect(seen.models()).toHaveLength(256);
    expect(seen.unanswered).toBe(300);
    for (let index = 0; index < 300; index++) ask(`real-${index}`, 200);
    expect(seen.models()).toHaveLength(256);
    expect(seen.others).toBe(46);
    seen.began("/v2/models/late/infer");
    seen.broke("/v2/models/late/infer", 2);
    expect(seen.others).toBe(47);
  });
});

describe("the savings of offloading", () => {
  const supposed = {
    edgeSpeed: 0,
    up: constantTrace(1e6),
    down: constantTrace(4e6),
    roundTripMs: 40,
    seed: 1,
  };

  it("are large with a thin link and a quick device, and state their assumptions", async () => {
    // 60 kB take half a second at 1 Mbit/s; the device needs 40 ms for itself.
    const [model] = calm(40).models();
    const found = await whatIf(model!, undefined, { ...supposed, deviceSpeed: 0.5 }, [], () => undefined);
    const ways = new Map(found?.ways.map(({ name, figures }) => [name, figures]));
    expect(ways.get("always the device")?.meanMs).toBeCloseTo(40, 0);
    expect(ways.get("always server")?.meanMs).toBeGreaterThan(500);
    expect(ways.get("longshore")?.meanMs).toBeLessThan(60);
    const text = whatIfText(found!, "had its clients been devices");
    expect(text).toMatch(/Offloading would have saved 9\d % of the time/);
    expect(text).toContain("No profile: the model runs whole");
    expect(text).toContain("Replayed: 40 requests of the busiest client");
  });

  it("is nothing where the device is too slow, which leaves all as it is", async () => {
    const [model] = calm(40).models();
    const found = await whatIf(model!, undefined, { ...supposed, deviceSpeed: 0.01 }, [], () => undefined);
    const ours = found?.ways.find(({ name }) => name === "longshore")?.figures;
    expect(ours?.awayRatio).toBe(1);
    expect(whatIfText(found!, "")).toContain("would have saved nothing to speak of");
  });

  it("compares a profile with the server as it is now, in the bytes that were seen", async () => {
    const [model] = calm(40).models();
    const options = { ...supposed, deviceSpeed: 0.01 };
    const plain = await whatIf(model!, undefined, options, [], () => undefined);
    // A machine that is four times as slow as the server, and a coding of a tenth.
    const profiled = plainModel({ name: "m", bytes: 6000, replyBytes: 100, localMs: 80, serverMs: 80 }).model;
    const found = await whatIf(model!, profiled, options, [], () => undefined);
    const { vsOracle, ...now } = plain!.asNow!;
    expect(vsOracle).toBeCloseTo(1, 2);
    expect(found?.profiled).toBe(true);
    expect(found?.asNow).toMatchObject(now);
    expect(found?.asNow?.vsOracle).toBeGreaterThan(2);
    const text = whatIfText(found!, "");
    expect(text).toMatch(/server, best coding .*\n\s+server, as now /);
    expect(text).toContain("Parts and codings as in the profile");
  });
});
