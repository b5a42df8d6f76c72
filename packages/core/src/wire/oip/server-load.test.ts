import { describe, expect, it } from "vitest";
import { kserveMetrics, mlserverMetrics, tritonMetrics } from "@longshore/testkit";
import { samplesOf } from "../../words/base/index.ts";
import { type ModelFigures, serverFigures, type ServerFigures } from "../protocol/index.ts";
import { serverLoad } from "./server-load.ts";
import { statisticsFigures } from "./statistics.ts";

const nobody = { underWay: 0, finished: 0 };

function figures(text: string): ServerFigures {
  const found = serverFigures(text);
  if (!found) throw new Error("nothing was read");
  return found;
}

describe("metrics in text", () => {
  it("gives wanted samples with their labels, and leaves out unreadable ones", () => {
    const text = `# HELP a what
a{x="1",y="q\\"u\\\\o\\nte"} 2.5 1795673986714
a 3
b{x="1"} 4
a{x="2"} NaN
a{broken
a`;
    const samples = [...samplesOf(text, new Set(["a"]))];
    expect(samples.map(({ value, labels }) => [value, ...labels])).toEqual([
      [2.5, ["x", "1"], ["y", 'q"u\\o\nte']],
      [3],
    ]);
  });
});

describe("figures of real servers", () => {
  it("reads Triton's, in microseconds, by model and version", () => {
    const told = figures(tritonMetrics({ finished: 6, runSeconds: 0.3, waiting: 6 }));
    expect(told.models).toEqual(new Map([["m/1", { finished: 6, runMs: 300, waiting: 6 }]]));
    expect(told.cpuRatio).toBe(0.5);
  });

  it("reads MLServer's, whose requests in progress are those that post", () => {
    const told = figures(mlserverMetrics({ finished: 10, runSeconds: 0.5, inFlight: 4 }));
    expect(told).toEqual({ models: new Map([["m", { finished: 10, runMs: 500 }]]), inFlight: 4 });
  });

  it("reads KServe's, which have neither", () => {
    const told = figures(kserveMetrics({ finished: 10, runSeconds: 0.5 }));
    expect(told).toEqual({ models: new Map([["m", { finished: 10, runMs: 500 }]]) });
  });

  it("returns nothing for a page about something else", () => {
    expect(serverFigures("python_info 1\nprocess_cpu_seconds_total 3\n")).toBeUndefined();
    expect(serverFigures("<html>no</html>")).toBeUndefined();
  });

  it("reads Triton's statistics", () => {
    const part = (ns: number) => ({ count: 17, ns });
    const stats = {
      success: part(3e9),
      fail: { count: 0, ns: 0 },
      queue: part(1e9),
      compute_input: part(1e6),
      compute_infer: part(1.28e9),
      compute_output: part(9e6),
    };
    const told = statisticsFigures({
      model_stats: [{ name: "m", version: "1", inference_count: 17, inference_stats: stats }],
    });
    expect(told).toEqual(new Map([["m/1", { finished: 17, runMs: 1290 }]]));
    expect(() => statisticsFigures({ model_stats: [{}] })).toThrow(/name/);
  });
});

describe("load between two readings", () => {
  it("is as long as the waiting requests take at the pace at which requests end", () => {
    const load = serverLoad();
    load.seen(figures(tritonMetrics({ finished: 100, runSeconds: 2, waiting: 10 })), nobody, 1000);
    // Two instances: 100 runs of 20 ms ended in a second.
    const told = figures(tritonMetrics({ finished: 200, runSeconds: 4, waiting: 10 }));
    expect(load.seen(told, nobody, 2000)).toMatchObject({ queueMs: 105, inFlight: 12, cpuRatio: 0.5 });
    expect(load.runMs("m", "1")).toBe(20);
  });

  it("of a server that was idle in between does not take its pauses for its pace", () => {
    const load = serverLoad();
    load.seen(figures(tritonMetrics({ finished: 100, runSeconds: 2 })), nobody, 1000);
    const told = figures(tritonMetrics({ finished: 101, runSeconds: 2.02, waiting: 3 }));
    expect(load.seen(told, nobody, 2000).queueMs).toBeCloseTo(70, 5);
  });

  it("knows a pace from the sums since the start, until there are two readings", () => {
    const told = figures(tritonMetrics({ finished: 10, runSeconds: 0.5, waiting: 2 }));
    expect(serverLoad().seen(told, nobody, 0)).toMatchObject({ queueMs: 125, inFlight: 3 });
  });

  it("counts those beyond the runs as waiting if only the total is reported", () => {
    const load = serverLoad();
    load.seen(figures(mlserverMetrics({ finished: 10, runSeconds: 0.5 })), nobody, 0);
    const busy = figures(mlserverMetrics({ finished: 30, runSeconds: 1.5, inFlight: 5 }));
    expect(load.seen(busy, nobody, 1000)).toMatchObject({ inFlight: 5, queueMs: 225 });
    const idle = figures(mlserverMetrics({ finished: 30, runSeconds: 1.5 }));
    expect(load.seen(idle, nobody, 2000)).toMatchObject({ inFlight: 0, queueMs: 0 });
  });

  it("follows from the time that others keep it busy if nothing is reported, without own requests", () => {
    const load = serverLoad();
    load.seen(figures(kserveMetrics({ finished: 10, runSeconds: 0.5 })), nobody, 0);
    // 16 runs of 50 ms in a second, of which 6 are ours: others keep it busy for half of the time.
    const told = figures(kserveMetrics({ finished: 26, runSeconds: 1.3 }));
    const found = load.seen(told, { underWay: 1, finished: 6 }, 1000);
    expect(found.queueMs).toBeCloseTo(25, 5);
    expect(found.inFlight).toBeCloseTo(1.5, 5);
    const ours = figures(kserveMetrics({ finished: 42, runSeconds: 2.1 }));
    expect(load.seen(ours, { underWay: 1, finished: 22 }, 2000)).toMatchObject({ queueMs: 0, inFlight: 1 });
  });

  it("of a server that reports waiting requests counts own requests as those under way, not as those that ran", () => {
    const load = serverLoad();
    load.seen(figures(tritonMetrics({ finished: 100, runSeconds: 2 })), nobody, 1000);
    // 40 runs of 20 ms in a second, one after another, all of them ours.
    const ours = figures(tritonMetrics({ finished: 140, runSeconds: 2.8 }));
    expect(load.seen(ours, { underWay: 1, finished: 40 }, 2000)).toMatchObject({ queueMs: 0, inFlight: 1 });
    const shared = figures(tritonMetrics({ finished: 180, runSeconds: 3.6 }));
    const found = load.seen(shared, { underWay: 0, finished: 60 }, 3000);
    expect(found.queueMs).toBe(0);
    expect(found.inFlight).toBeCloseTo(0.4, 5);
  });

  it("is at least the time that the reading itself waited in such a server", () => {
    const load = serverLoad();
    const told = figures(kserveMetrics({ finished: 10, runSeconds: 0.5 }));
    expect(load.seen(told, nobody, 0, 200)).toMatchObject({ queueMs: 200, inFlight: 4 });
    const triton = figures(tritonMetrics({ finished: 10, runSeconds: 0.5 }));
    expect(serverLoad().seen(triton, nobody, 0, 200)).toMatchObject({ queueMs: 0, inFlight: 0 });
  });

  it("forgets the models that were counted longest ago where a server names more and more", () => {
    const load = serverLoad();
    const told = (from: number): ReadonlyMap<string, ModelFigures> =>
      new Map(Array.from({ length: 4096 }, (_, at) => [`m${from + at}/1`, { finished: 1, runMs: 5 }]));
    load.counted(told(0));
    expect(load.runMs("m0", "1")).toBe(5);
    load.counted(told(4096));
    expect(load.runMs("m0", "1")).toBeUndefined();
    expect(load.runMs("m4096", "1")).toBe(5);
  });

  it("is no more than the limit of any queue, and a number, for any counts", () => {
    const load = serverLoad();
    const page = (count: number): ServerFigures =>
      figures(
        ["success", "failure"].map((end) => `nv_inference_request_${end}{model="m"} ${count}`).join("\n") +
          `\nnv_inference_compute_infer_duration_us{model="m"} ${count}e300` +
          `\nmodel_infer_request_duration_sum{model_name="m"} ${count}e307` +
          `\nnv_inference_pending_request_count{model="m"} ${count}e307`,
      );
    load.seen(page(1), nobody, 0);
    const { queueMs, inFlight } = load.seen(page(2), nobody, 1000);
    expect([queueMs, Number.isFinite(inFlight)]).toEqual([600_000, true]);
  });

  it("begins again with a server that started again", () => {
    const load = serverLoad();
    load.seen(figures(kserveMetrics({ finished: 1000, runSeconds: 50 })), nobody, 0);
    const told = figures(kserveMetrics({ finished: 3, runSeconds: 0.03 }));
    expect(load.seen(told, nobody, 1000)).toMatchObject({ queueMs: 0, inFlight: 0 });
    expect(load.runMs("m", "1")).toBe(50);
  });
});
