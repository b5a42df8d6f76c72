import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { barsPlot, cdfPlot, htmlReport, timelinePlot } from "./index.ts";
import { axisScale, roundTicks, shortNumber } from "./scale.ts";

const evil = `<script>alert("x")</script>&'`;

describe("htmlReport", () => {
  it("keeps a figure in a table beside its unit", () => {
    const page = htmlReport({
      title: "t",
      summary: { kind: "table", columns: ["a", "b"], rows: [["634 ms", "2 seconds, 12 % of 3 kB"]] },
      sections: [],
    });
    expect(page).toContain("634\u00a0ms");
    expect(page).toContain("2 seconds, 12\u00a0% of 3\u00a0kB");
  });

  it("holds title, tables, texts and plots, requests nothing and runs nothing", () => {
    const page = htmlReport({
      title: "Where requests ran",
      lead: "One store.",
      summary: {
        kind: "table",
        columns: ["scene", "ms"],
        rows: [
          ["wifi", 12.34],
          ["dead", Infinity],
          ["none", null],
        ],
        highlight: [0],
      },
      sections: [
        {
          title: "Times",
          content: [
            { kind: "text", text: "As measured." },
            cdfPlot([{ name: "a", values: [1, 2, 3] }], { x: "ms" }),
          ],
        },
      ],
      footer: "seed 7",
    });
    expect(page).toMatch(/^<!doctype html>/);
    for (const part of [
      "<h1>Where requests ran</h1>",
      "One store.",
      "12.3",
      "never",
      "As measured.",
      "<svg",
      "seed 7",
      'class="highlight"',
    ]) {
      expect(page).toContain(part);
    }
    expect(page).not.toMatch(/https?:|<script|<link|<img|@import|url\(/);
    expect(page).toContain("default-src 'none'");
  });

  it("escapes every text it is given", () => {
    const page = htmlReport({
      title: evil,
      lead: evil,
      footer: evil,
      summary: { kind: "table", columns: [evil], rows: [[evil]] },
      sections: [
        {
          title: evil,
          content: [
            { kind: "text", text: evil },
            cdfPlot(
              [
                { name: evil, values: [1] },
                { name: "b", values: [2] },
              ],
              { x: evil, mark: { at: 1, name: evil } },
            ),
            timelinePlot([{ name: evil, points: [[0, 1]] }], { x: evil, y: evil }),
            barsPlot([{ name: evil, values: [1] }], [evil], { x: evil }),
          ],
        },
      ],
    });
    expect(page).not.toContain("<script");
    expect(page).not.toContain('alert("');
    expect(page.split("&lt;script&gt;").length).toBeGreaterThan(14);
  });
});

describe("plots", () => {
  it("keep the name of a mark inside the picture", () => {
    const points = [
      [0, 1],
      [10, 2],
    ] as const;
    const positionOf = (html: string): string | undefined => /class="mark-name" ([^>]*)>/.exec(html)?.[1];
    const down = (at: number): string | undefined =>
      positionOf(cdfPlot([{ name: "a", values: [0, 10] }], { x: "ms", mark: { at, name: "deadline" } }).html);
    expect(down(1)).not.toContain("end");
    expect(down(10)).toContain("end");
    const across = (at: number): number =>
      Number(
        /y="([\d.]+)"/.exec(
          positionOf(
            timelinePlot([{ name: "a", points }], { x: "s", mark: { at, name: "deadline" } }).html,
          ) ?? "",
        )?.[1],
      );
    // The scale ends at the mark: there is no space above it.
    expect(across(2)).toBeGreaterThan(12);
    expect(across(1)).toBeGreaterThan(across(2));
  });

  it("a distribution climbs from its smallest to its largest value", () => {
    const { html } = cdfPlot([{ name: "a", values: [30, 10, 20] }], { x: "ms" });
    const points =
      /points="([^"]+)"/
        .exec(html)?.[1]
        ?.split(" ")
        .map((pair) => pair.split(",").map(Number)) ?? [];
    expect(points).toHaveLength(3);
    expect(points[0]?.[0]).toBeCloseTo(56, 0);
    expect(points[2]?.[0]).toBeCloseTo(704, 0);
    expect(points.map(([, y]) => y)).toEqual(points.map(([, y]) => y ?? 0).toSorted((a, b) => b - a));
    expect(points[2]?.[1]).toBe(12);
  });

  it("draws thousands of samples with a few hundred points, the last one among them", () => {
    const { html } = cdfPlot([{ name: "a", values: Array.from({ length: 5000 }, (_, index) => index) }], {
      x: "ms",
    });
    const points = /points="([^"]+)"/.exec(html)?.[1]?.split(" ") ?? [];
    expect(points.length).toBeLessThan(400);
    expect(points[points.length - 1]).toBe("704,12");
  });

  it("steps hold their value, bars are as long as their figures", () => {
    const { html } = timelinePlot(
      [
        {
          name: "rate",
          points: [
            [0, 1],
            [10, 5],
          ],
          draw: "steps",
        },
      ],
      { x: "s", y: "Mbit/s" },
    );
    const points = /points="([^"]+)"/.exec(html)?.[1]?.split(" ") ?? [];
    expect(points).toHaveLength(3);
    expect(points[0]?.split(",")[1]).toBe(points[1]?.split(",")[1]);
    const bars = barsPlot([{ name: "mean", values: [100, 50] }], ["a", "b"], { x: "ms" }).html;
    const widths = [...bars.matchAll(/class="bar[^>]* width="([\d.]+)"/g)].map(([, width]) => Number(width));
    expect((widths[0] ?? 0) / (widths[1] ?? 1)).toBeCloseTo(2, 1);
  });

  it("never writes anything but numbers into coordinates", () => {
    const numbers = fc.oneof(
      fc.double(),
      fc.constantFrom(0, 5e-324, -5e-324, 1e-300, NaN, Infinity, -Infinity, 1e300),
    );
    fc.assert(
      fc.property(fc.array(numbers, { maxLength: 30 }), fc.boolean(), (values, logarithmicX) => {
        const html =
          cdfPlot([{ name: "a", values }], { x: "x", logarithmicX }).html +
          timelinePlot([{ name: "a", points: values.map((value, index) => [index, value]) }], {
            x: "x",
            logarithmicY: logarithmicX,
          }).html +
          barsPlot([{ name: "g", values }], values.map(String), { x: "x" }).html;
        expect(html).not.toMatch(/(?:x|y|x1|x2|y1|y2|cx|cy|width|height|points)="[^"]*(?:NaN|Infinity)/);
      }),
    );
  });
});

describe("scales", () => {
  it("ticks are round and inside", () => {
    expect(roundTicks(0, 100, 5)).toEqual([0, 20, 40, 60, 80, 100]);
    expect(axisScale({ min: 1, max: 1000, fromPx: 0, toPx: 300, logarithmic: true, ticks: 3 }).ticks).toEqual(
      [1, 3, 10, 30, 100, 300, 1000],
    );
    expect(
      axisScale({ min: 1, max: 1000, fromPx: 0, toPx: 300, logarithmic: true, ticks: 3 }).at(10),
    ).toBeCloseTo(100, 9);
  });

  it.each([
    [0, "0"],
    [1234.5, "1235"],
    [12_345, "12.3k"],
    [2_500_000, "2.5M"],
    [0.1234, "0.123"],
    [1.5, "1.5"],
    [100, "100"],
    [NaN, "-"],
  ])("writes %d as %s", (value, text) => expect(shortNumber(value)).toBe(text));
});
