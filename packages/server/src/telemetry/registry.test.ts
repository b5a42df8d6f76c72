import { allSteps } from "@longshore/core/internal";
import { describe, expect, it } from "vitest";
import { counter, type Family, gauge, histogram, metricsText, type Sees } from "./registry.ts";

const text = (families: readonly Family[], sees?: Sees): string =>
  allSteps(metricsText(families, "prometheus", sees))
    .map((piece) => new TextDecoder().decode(piece))
    .join("");

describe("metrics as text", () => {
  it("of many models are written in steps, and each series in one of them", () => {
    const seconds = histogram("seconds", "Time", ["model"], [1, 2, 4]);
    const total = counter("all_total", "Requests", ["model"]);
    for (let model = 0; model < 1500; model++) {
      seconds.observe([`m${model}`], 3);
      total.add([`m${model}`]);
    }
    const pieces: Uint8Array[] = [];
    const work = metricsText([seconds, total], "openmetrics", undefined);
    let steps = 1;
    for (let step = work.next(); ; step = work.next(), steps++) {
      if (step.done !== true) {
        // A request that is served between two steps may add to the output.
        seconds.observe(["m1499"], 3);
        continue;
      }
      pieces.push(...step.value);
      break;
    }
    expect(pieces.length).toBe(steps);
    expect(steps).toBeGreaterThan(8);
    const pages = pieces.map((piece) => new TextDecoder().decode(piece));
    for (const page of pages.slice(0, -1))
      expect(page.trimEnd()).toMatch(/(?:seconds_count|all_total)\{[^\n]*$/);
    const whole = pages.join("");
    const last = /seconds_bucket\{model="m1499",le="\+Inf"\} (\d+)/.exec(whole)?.[1];
    expect(whole).toContain(`seconds_count{model="m1499"} ${last}\n`);
    expect(whole.endsWith("\n# EOF\n")).toBe(true);
  });

  it("name no model and no alias that the reader does not see", () => {
    const requests = counter("requests_total", "Requests", ["model", "version"]);
    requests.add(["ocr", "1"]);
    requests.add(["ocr:c1..end", "1"]);
    requests.add(["secret", "1"]);
    requests.add(["secret:start..c1", "1"]);
    const aliases = counter("aliases_total", "Changes", ["alias"]);
    aliases.add(["hidden"]);
    const load = gauge("load", "Load", () => [[[], 1]]);
    const families = [requests, aliases, load];
    const seen = text(families, (model) => model === "ocr");
    expect(seen).toContain('requests_total{model="ocr",version="1"} 1\n');
    expect(seen).toContain('requests_total{model="ocr:c1..end",version="1"} 1\n');
    expect(seen).toContain("load 1\n");
    expect(seen).not.toMatch(/secret|hidden/);
    expect(text(families)).toMatch(/secret[^]*hidden/);
  });

  it("of models that the reader does not see are passed over in steps, too", () => {
    const load = gauge("load", "Load", () =>
      Array.from({ length: 5000 }, (_, index) => [[["model", `m${index}`]], 1] as const),
    );
    const work = metricsText([load], "prometheus", (model) => model === "m4999");
    let pauses = 0;
    let step = work.next();
    for (; step.done !== true; step = work.next()) pauses++;
    expect(pauses).toBe(4);
    const whole = step.value.map((piece) => new TextDecoder().decode(piece)).join("");
    expect(whole).toBe('# HELP load Load\n# TYPE load gauge\nload{model="m4999"} 1\n');
  });
});
