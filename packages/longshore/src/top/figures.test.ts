import { expect, it } from "vitest";
import { samplesOf } from "@longshore/core/internal";
import { tritonMetrics } from "@longshore/testkit";
import { figuresBetween } from "./figures.ts";
import { type Scrape, topMetrics } from "./scrape.ts";

const scrape = (atMs: number, page: string): Scrape => ({
  atMs,
  samples: [...samplesOf(page, topMetrics)],
  isReady: true,
  server: "longshore 0.1.0",
});

const page = (requests: number, micros: number): string => `
longshore_tenant_requests_total{tenant="store",outcome="answered"} ${requests}
longshore_tenant_requests_total{tenant="store",outcome="failed"} 2
longshore_cost_micros_total{tenant="store",model="ocr",endpoint="edge-1"} ${micros}
nv_inference_request_success{model="ocr",version="1"} ${requests}
nv_inference_request_failure{model="ocr",version="1",reason="OTHER"} 2
nv_inference_queue_duration_us{model="ocr",version="1"} ${requests * 3000}
nv_inference_pending_request_count{model="ocr",version="1"} 4
longshore_request_duration_seconds_bucket{model="ocr",version="1",outcome="answered",le="0.1"} ${requests / 2}
longshore_request_duration_seconds_bucket{model="ocr",version="1",outcome="answered",le="0.2"} ${requests}
longshore_request_duration_seconds_bucket{model="ocr",version="1",outcome="answered",le="+Inf"} ${requests}
longshore_legs_total{endpoint="edge-1",outcome="won"} ${requests}
longshore_legs_total{endpoint="edge-1",outcome="lost"} 1
longshore_legs_total{endpoint="edge-1",outcome="no-answer"} 3
longshore_failures_total{reason="queue-full",stage="admission"} ${requests / 10}
`;

it("tells rates between two looks", () => {
  const figures = figuresBetween(scrape(1000, page(10, 100)), scrape(3000, page(30, 500)));
  expect(figures).toMatchObject({
    seconds: 2,
    answered: 10,
    failed: 1,
    micros: 200,
    tenants: [{ name: "store", answered: 10, failed: 0, micros: 200 }],
    models: [{ name: "ocr", version: "1", answered: 10, failed: 0, p50Ms: 100, queueMs: 3, waiting: 4 }],
    endpoints: [{ name: "edge-1", won: 10, lost: 0, failed: 0, micros: 200 }],
    failures: [{ reason: "queue-full", stage: "admission", count: 1 }],
  });
  expect(figures.models[0]?.p99Ms).toBeCloseTo(198);
});

it("tells counts since the start of the server", () => {
  const { seconds, tenants, endpoints } = figuresBetween(undefined, scrape(0, page(30, 500)));
  expect([seconds, tenants, endpoints]).toMatchObject([
    undefined,
    [{ answered: 30, failed: 2 }],
    [{ won: 30, lost: 1, failed: 3 }],
  ]);
});

it("counts from zero after a server started again", () => {
  const { answered, micros } = figuresBetween(scrape(0, page(1000, 9000)), scrape(1000, page(20, 50)));
  expect([answered, micros]).toEqual([20, 50]);
});

it("shows mean times of a server that counts no quantiles", () => {
  const counted = (finished: number): Scrape =>
    scrape(finished * 100, tritonMetrics({ finished, runSeconds: finished * 0.05 }));
  const [model] = figuresBetween(counted(10), counted(30)).models;
  expect(model).toMatchObject({ name: "m", answered: 10, p50Ms: 50, p99Ms: NaN });
});
