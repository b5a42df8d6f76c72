import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { locatedYaml } from "@longshore/nodejs";
import { command } from "../../test/command.ts";

let folder: string;
beforeAll(() => void (folder = mkdtempSync(join(tmpdir(), "longshore-slo-"))));
afterAll(() => rmSync(folder, { recursive: true }));

async function rules(text: string, ...more: readonly string[]) {
  const file = join(folder, "slo.yaml");
  writeFileSync(file, text);
  return command("slo", "rules", file, ...more);
}

/** Names of metrics in the reference, without the suffixes of histograms. */
const known = new Set(
  [...readFileSync("docs/reference/metrics.md", "utf8").matchAll(/^\| `([a-z_]+)`/gm)].map(
    ([, name]) => name,
  ),
);
function unknownIn(expr: string): readonly string[] {
  const names = [...expr.matchAll(/\b((?:longshore|nv)_[a-z_]+)\b/g)].map(([, name = ""]) => name);
  return names.filter((name) => !known.has(name) && !known.has(name.replace(/_(?:bucket|count|sum)$/, "")));
}

const good = `
match: { job: longshore }
objectives:
  - { name: ocr-answered, model: ocr, targetRatio: 0.999 }
  - { name: ocr-fast, model: ocr, withinMs: 204.8, targetRatio: 0.99 }
`;

describe("rules for service levels", () => {
  it("are YAML with a group for each objective, alerts for four pairs of windows, and known metrics", async () => {
    const printed = await rules(good);
    const json = JSON.parse((await rules(good, "--json")).out);
    expect(printed.code).toBe(0);
    expect(locatedYaml(printed.out, "rules").value).toEqual(json);
    expect(json.groups.map(({ name }: { name: string }) => name)).toEqual([
      "longshore-slo-ocr-answered",
      "longshore-slo-ocr-fast",
      "longshore-operation",
    ]);
    const alerts = json.groups[1].rules.filter(({ alert }: { alert?: string }) => alert);
    expect(
      alerts.map(({ expr, labels }: { expr: string; labels: object }) => [expr.split(" ")[2], labels]),
    ).toEqual([
      ["0.144", { slo: "ocr-fast", model: "ocr", severity: "page", window: "1h" }],
      ["0.06", { slo: "ocr-fast", model: "ocr", severity: "page", window: "6h" }],
      ["0.03", { slo: "ocr-fast", model: "ocr", severity: "ticket", window: "1d" }],
      ["0.01", { slo: "ocr-fast", model: "ocr", severity: "ticket", window: "3d" }],
    ]);
    for (const group of json.groups)
      for (const { expr } of group.rules) expect([expr, unknownIn(expr)]).toEqual([expr, []]);
  });

  it.each([
    ["targetRatio: 0.99, windowDays: 7", ["1h", "6h"]],
    ["targetRatio: 0.9", ["6h", "1d", "3d"]],
  ])("of %s leave out alerts that could never fire or would not matter", async (text, windows) => {
    const json = JSON.parse((await rules(`objectives: [{ name: a, ${text} }]`, "--json")).out);
    const alerts = json.groups[0].rules.filter(({ alert }: { alert?: string }) => alert);
    expect(alerts.map(({ labels }: { labels: { window: string } }) => labels.window)).toEqual(windows);
  });

  it.each([
    ["objectives: []", "slo.yaml:1: objectives"],
    ["objectives: [{ name: a, targetRatio: 2 }]", "targetRatio"],
    ["objectives: [{ name: a, targetRatio: 0.9, withinMs: 200 }]", "say 102.4 or 204.8"],
    [
      "objectives:\n  - { name: a, targetRatio: 0.9 }\n  - { name: a, model: x, targetRatio: 0.9 }",
      "slo.yaml:3: two objectives have the name 'a'",
    ],
    [
      "objectives:\n  - { name: loose, withinMs: 204.8, targetRatio: 0.9 }\n  - { name: tight, withinMs: 102.4, targetRatio: 0.95 }",
      "tight and loose contradict each other",
    ],
    ["objectives:\n  - { name: a, targetRatio: 0.9, window: 3 }", "slo.yaml:2"],
  ])("refuse %s", async (text, told) => {
    const { code, notes } = await rules(text);
    expect([code, notes]).toEqual([2, expect.stringContaining(told)]);
  });
});

it("the dashboard asks for metrics that servers export", async () => {
  const { panels } = JSON.parse((await command("slo", "dashboard")).out) as {
    panels: { id: number; title: string; gridPos: object; targets?: { expr: string }[] }[];
  };
  expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
  expect(new Set(panels.map(({ gridPos }) => JSON.stringify(gridPos))).size).toBe(panels.length);
  const exprs = panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  expect(exprs.length).toBeGreaterThan(20);
  for (const expr of exprs) expect([expr, unknownIn(expr)]).toEqual([expr, []]);
});
