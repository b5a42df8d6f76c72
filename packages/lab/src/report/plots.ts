/**
 * Plots as inline SVG, drawn twice: for a wide window and for a phone, of which the page shows one. Colours are the page's
 * variables, so that they follow light and dark.
 */
import { escapeText } from "./escape.ts";
import { axisScale, type AxisScale, shortNumber } from "./scale.ts";

/** Samples of one thing, for a distribution. */
export interface SampleSeries {
  readonly name: string;
  readonly values: ArrayLike<number>;
}

/** Points of one thing over time. */
export interface PointSeries {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** `steps` holds a value until the next point. Default `dots`. */
  readonly draw?: "line" | "steps" | "dots";
}

/** The labels of a plot's axes. */
export interface AxisWords {
  readonly x: string;
  readonly y?: string;
  readonly logarithmicX?: boolean;
  readonly logarithmicY?: boolean;
  /** A reference line, such as a deadline: across at a height (or down at a value, in a distribution). */
  readonly mark?: { readonly at: number; readonly name: string };
}

/** A plot that has been drawn: SVG and legend, safe to put into a page. */
export interface Plot {
  readonly kind: "plot";
  readonly html: string;
}

/** Colours that the page defines; further series begin again. */
export const seriesColours = 8;

interface Frame {
  readonly width: number;
  readonly height: number;
  readonly left: number;
  readonly right: number;
  readonly top: number;
  readonly bottom: number;
}

const wide: Frame = { width: 720, height: 300, left: 56, right: 16, top: 12, bottom: 44 };
const narrow: Frame = { width: 340, height: 240, left: 48, right: 10, top: 10, bottom: 42 };

/** Share of samples at or below each value, one line each. Samples that are not finite count, but are never reached. */
export function cdfPlot(series: readonly SampleSeries[], words: AxisWords): Plot {
  const sorted = series.map(({ values }) => Float64Array.from(values).sort());
  const finite = sorted.flatMap((values) => [...values].filter(Number.isFinite));
  const low = words.logarithmicX ? finite.filter((value) => value > 0) : finite;
  const min = low.reduce((least, value) => Math.min(least, value), Infinity);
  const max = finite.reduce((most, value) => Math.max(most, value), -Infinity);
  return drawn(
    series.map(({ name }) => name),
    words,
    (frame) => {
      const x = xScale(
        frame,
        { min: Number.isFinite(min) ? min : 0, max: Number.isFinite(max) ? max : 1 },
        words,
      );
      const y = yScale(frame, { min: 0, max: 1 }, false);
      const lines = sorted.map((values, index) => {
        const points: string[] = [];
        // A few hundred points draw the same line as thousands of samples; the last one is always among them.
        const stride = Math.max(1, Math.floor(values.length / 300));
        for (let at = (values.length + stride - 1) % stride; at < values.length; at += stride) {
          const value = values[at] ?? 0;
          if (!Number.isFinite(value)) break;
          points.push(`${px(x.at(value))},${px(y.at((at + 1) / values.length))}`);
        }
        return `<polyline class="line c${index % seriesColours}" points="${points.join(" ")}"/>`;
      });
      const percent = (value: number): string => `${Math.round(value * 100)} %`;
      return (
        axes(frame, x, y, { ...words, y: words.y ?? "share" }, percent) +
        lines.join("") +
        markDown(frame, x, words)
      );
    },
  );
}

/** Points, lines or steps over time (or another quantity along x). */
export function timelinePlot(series: readonly PointSeries[], words: AxisWords): Plot {
  const all = series
    .flatMap(({ points }) => points)
    .filter(([x, y]) => Number.isFinite(x) && Number.isFinite(y));
  const bounds = (
    pick: (point: readonly [number, number]) => number,
    zero: boolean,
  ): { min: number; max: number } => {
    let min = zero ? 0 : Infinity;
    let max = -Infinity;
    for (const point of all) {
      min = Math.min(min, pick(point));
      max = Math.max(max, pick(point));
    }
    return all.length > 0 ? { min, max } : { min: 0, max: 1 };
  };
  const xBounds = bounds(([x]) => x, false);
  const yBounds = bounds(([, y]) => y, !words.logarithmicY);
  if (words.mark) yBounds.max = Math.max(yBounds.max, words.mark.at);
  return drawn(
    series.map(({ name }) => name),
    words,
    (frame) => {
      const x = xScale(frame, xBounds, words);
      const y = yScale(frame, yBounds, words.logarithmicY ?? false);
      const shapes = series.map((one, index) => shapeOf(one, `c${index % seriesColours}`, x, y));
      return axes(frame, x, y, words, shortNumber) + shapes.join("") + markAcross(frame, y, words);
    },
  );
}

/** One bar for each name, with its figure beside it, or `-` where there is none; bars of a group lie together. */
export function barsPlot(
  groups: readonly { readonly name: string; readonly values: readonly number[] }[],
  names: readonly string[],
  words: AxisWords,
): Plot {
  const finite = groups.flatMap(({ values }) => values.filter(Number.isFinite));
  const max =
    Math.max(
      words.mark?.at ?? 0,
      finite.reduce((most, value) => Math.max(most, value), 0),
    ) * 1.08 || 1;
  const barPx = 14;
  const groupPx = 22 + names.length * barPx + 8;
  return drawn(names, words, ({ width }) => {
    const frame: Frame = {
      width,
      height: groups.length * groupPx + 52,
      left: 8,
      right: 52,
      top: 4,
      bottom: 44,
    };
    const x = axisScale({
      min: 0,
      max,
      fromPx: frame.left,
      toPx: width - frame.right,
      ticks: width > 500 ? 7 : 4,
    });
    const parts = groups.map((group, row) => {
      const topPx = frame.top + row * groupPx;
      const label = `<text class="group" x="${frame.left}" y="${topPx + 14}">${escapeText(group.name)}</text>`;
      const bars = group.values.map((value, index) => {
        const yPx = topPx + 20 + index * barPx;
        const endPx = Number.isFinite(value) ? x.at(Math.max(0, value)) : frame.left;
        return (
          `<rect class="bar c${index % seriesColours}" x="${frame.left}" y="${yPx}" width="${px(Math.max(1, endPx - frame.left))}" height="${barPx - 3}" rx="2"/>` +
          `<text class="figure" x="${px(endPx + 5)}" y="${yPx + barPx - 4}">${escapeText(Number.isFinite(value) ? shortNumber(value) : "-")}</text>`
        );
      });
      return label + bars.join("");
    });
    return {
      height: frame.height,
      html: xAxis(frame, x, words) + parts.join("") + markDown(frame, x, words),
    };
  });
}

type Drawing = string | { readonly height: number; readonly html: string };

/** The SVG of one plot in both widths, under its legend. */
function drawn(names: readonly string[], words: AxisWords, draw: (frame: Frame) => Drawing): Plot {
  const legend = names
    .map(
      (name, index) =>
        `<span class="key"><i class="c${index % seriesColours}"></i>${escapeText(name)}</span>`,
    )
    .join("");
  const label = escapeText(`${words.y ?? "share"} by ${words.x}: ${names.join(", ")}`);
  const svg = (frame: Frame, name: string): string => {
    const drawing = draw(frame);
    const height = typeof drawing === "string" ? frame.height : drawing.height;
    const html = typeof drawing === "string" ? drawing : drawing.html;
    return `<svg class="${name}" viewBox="0 0 ${frame.width} ${height}" role="img" aria-label="${label}">${html}</svg>`;
  };
  const keys = names.length > 1 ? `<p class="legend">${legend}</p>` : "";
  return { kind: "plot", html: `${keys}${svg(wide, "wide")}${svg(narrow, "narrow")}` };
}

function xScale(
  frame: Frame,
  bounds: { readonly min: number; readonly max: number },
  words: AxisWords,
): AxisScale {
  const { left: fromPx, width, right } = frame;
  const logarithmic = words.logarithmicX ?? false;
  return axisScale({ ...bounds, fromPx, toPx: width - right, logarithmic, ticks: width > 500 ? 8 : 4 });
}

function yScale(
  frame: Frame,
  bounds: { readonly min: number; readonly max: number },
  logarithmic: boolean,
): AxisScale {
  return axisScale({
    ...bounds,
    fromPx: frame.height - frame.bottom,
    toPx: frame.top,
    logarithmic,
    ticks: 5,
  });
}

function xAxis(frame: Frame, x: AxisScale, words: AxisWords): string {
  const basePx = frame.height - frame.bottom;
  const ticks = x.ticks.map(
    (tick) =>
      `<line class="grid" x1="${px(x.at(tick))}" x2="${px(x.at(tick))}" y1="${frame.top}" y2="${basePx}"/>` +
      `<text class="tick" text-anchor="middle" x="${px(x.at(tick))}" y="${basePx + 16}">${escapeText(shortNumber(tick))}</text>`,
  );
  const middle = (frame.left + frame.width - frame.right) / 2;
  return `${ticks.join("")}<text class="axis" text-anchor="middle" x="${middle}" y="${frame.height - 8}">${escapeText(words.x)}</text>`;
}

function axes(
  frame: Frame,
  x: AxisScale,
  y: AxisScale,
  words: AxisWords,
  figure: (value: number) => string,
): string {
  const rightPx = frame.width - frame.right;
  const ticks = y.ticks.map(
    (tick) =>
      `<line class="grid" x1="${frame.left}" x2="${rightPx}" y1="${px(y.at(tick))}" y2="${px(y.at(tick))}"/>` +
      `<text class="tick" text-anchor="end" x="${frame.left - 6}" y="${px(y.at(tick) + 4)}">${escapeText(figure(tick))}</text>`,
  );
  const middle = (frame.top + frame.height - frame.bottom) / 2;
  const name = words.y
    ? `<text class="axis" text-anchor="middle" transform="translate(12 ${middle}) rotate(-90)">${escapeText(words.y)}</text>`
    : "";
  return xAxis(frame, x, words) + ticks.join("") + name;
}

function shapeOf(series: PointSeries, colour: string, x: AxisScale, y: AxisScale): string {
  const points = series.points.filter(([atX, atY]) => Number.isFinite(atX) && Number.isFinite(atY));
  if ((series.draw ?? "dots") === "dots") {
    return points
      .map(
        ([atX, atY]) => `<circle class="dot ${colour}" cx="${px(x.at(atX))}" cy="${px(y.at(atY))}" r="2.2"/>`,
      )
      .join("");
  }
  const path: string[] = [];
  let lastPx = "";
  for (const [atX, atY] of points) {
    if (series.draw === "steps" && lastPx) path.push(`${px(x.at(atX))},${lastPx}`);
    lastPx = px(y.at(atY));
    path.push(`${px(x.at(atX))},${lastPx}`);
  }
  return `<polyline class="line ${colour}" points="${path.join(" ")}"/>`;
}

/** About what a letter of a mark's name takes. */
const letterPx = 6.5;
/** The height of a line of text. */
const linePx = 11;

/**
 * The name stands at the foot of the line, where distributions and bars leave free space: to its right, or else to its left.
 */
function markDown(frame: Frame, x: AxisScale, words: AxisWords): string {
  if (!words.mark) return "";
  const { at, name } = words.mark;
  const atPx = px(x.at(at));
  const fits = Number(atPx) + 4 + letterPx * name.length <= frame.width;
  const position = fits ? `x="${px(Number(atPx) + 4)}"` : `text-anchor="end" x="${px(Number(atPx) - 4)}"`;
  return (
    `<line class="mark" x1="${atPx}" x2="${atPx}" y1="${frame.top}" y2="${frame.height - frame.bottom}"/>` +
    `<text class="mark-name" ${position} y="${frame.height - frame.bottom - 4}">${escapeText(name)}</text>`
  );
}

/** The name stands above the line if it fits, else below. */
function markAcross(frame: Frame, y: AxisScale, words: AxisWords): string {
  if (!words.mark) return "";
  const atPx = px(y.at(words.mark.at));
  const above = Number(atPx) - 4 >= linePx;
  return (
    `<line class="mark" x1="${frame.left}" x2="${frame.width - frame.right}" y1="${atPx}" y2="${atPx}"/>` +
    `<text class="mark-name" text-anchor="end" x="${frame.width - frame.right}" y="${px(Number(atPx) + (above ? -4 : linePx + 1))}">${escapeText(words.mark.name)}</text>`
  );
}

function px(value: number): string {
  return (Math.round(value * 10) / 10).toString();
}
