import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
// oxlint-disable-next-line import/default -- Node.js takes the CommonJS build, whose default is the library
import opentype from "opentype.js";

/** Fonts that documents are set in, all under the SIL Open Font License. */
export type FontName = "sans" | "sans-bold" | "mono" | "mono-bold" | "serif" | "serif-bold";

const fontFiles: Readonly<Record<FontName, string>> = {
  sans: "@fontsource/inter/files/inter-latin-400-normal.woff",
  "sans-bold": "@fontsource/inter/files/inter-latin-700-normal.woff",
  mono: "@fontsource/roboto-mono/files/roboto-mono-latin-400-normal.woff",
  "mono-bold": "@fontsource/roboto-mono/files/roboto-mono-latin-700-normal.woff",
  serif: "@fontsource/source-serif-4/files/source-serif-4-latin-400-normal.woff",
  "serif-bold": "@fontsource/source-serif-4/files/source-serif-4-latin-700-normal.woff",
};

/** One line of text on a sheet. Sizes in pixels of the sheet; `y` is the baseline. */
export interface Run {
  readonly text: string;
  readonly font: FontName;
  readonly size: number;
  readonly x: number;
  readonly y: number;
  readonly align?: "left" | "right" | "centre";
  readonly colour?: string;
}

/** A filled rectangle on a sheet. */
export interface Area {
  readonly x: number;
  readonly y: number;
  readonly width: number;
  readonly height: number;
  readonly colour: string;
}

/** A document before it is photographed: areas first, then text over them. */
export interface Sheet {
  readonly width: number;
  readonly height: number;
  readonly paper: string;
  readonly areas: readonly Area[];
  readonly runs: readonly Run[];
}

/** Sets text in the fonts of the font packages; outlines come from the font files, so no font of the machine matters. */
export interface Typesetter {
  /** Width of the text in pixels. */
  width(text: string, font: FontName, size: number): number;
  /** The sheet as SVG with every letter as an outline. */
  svg(sheet: Sheet): string;
}

/** An outline as SVG path data, to a hundredth of a pixel. */
function pathData(path: opentype.Path): string {
  const at = (...figures: readonly number[]): string => figures.map((figure) => figure.toFixed(2)).join(" ");
  return path.commands
    .map((command) => {
      switch (command.type) {
        case "M":
        case "L":
          return command.type + at(command.x, command.y);
        case "Q":
          return `Q${at(command.x1, command.y1, command.x, command.y)}`;
        case "C":
          return `C${at(command.x1, command.y1, command.x2, command.y2, command.x, command.y)}`;
        case "Z":
          return "Z";
      }
    })
    .join("");
}

/** Reads each font once, when it is first used. */
export function typesetter(): Typesetter {
  const require = createRequire(import.meta.url);
  const fonts = new Map<FontName, opentype.Font>();
  const fontOf = (name: FontName): opentype.Font => {
    const known = fonts.get(name);
    if (known) return known;
    const file = readFileSync(require.resolve(fontFiles[name]));
    const font = opentype.parse(new Uint8Array(file).buffer);
    fonts.set(name, font);
    return font;
  };
  // Letters stand side by side by their advance widths: the library's own shaping fails on lookups of these fonts.
  const letters = (text: string, font: FontName): readonly opentype.Glyph[] =>
    Array.from(text, (character) => fontOf(font).charToGlyph(character));
  const advance = (glyph: opentype.Glyph, font: FontName, size: number): number =>
    ((glyph.advanceWidth ?? 0) * size) / fontOf(font).unitsPerEm;
  const width = (text: string, font: FontName, size: number): number =>
    letters(text, font).reduce((sum, glyph) => sum + advance(glyph, font, size), 0);
  const outline = ({ text, font, size, x, y, align, colour }: Run): string => {
    const wide = width(text, font, size);
    let left = align === "right" ? x - wide : align === "centre" ? x - wide / 2 : x;
    const paths: string[] = [];
    for (const glyph of letters(text, font)) {
      paths.push(pathData(glyph.getPath(left, y, size)));
      left += advance(glyph, font, size);
    }
    return `<path fill="${colour ?? "#111"}" d="${paths.join("")}"/>`;
  };
  return {
    width,
    svg({ width: w, height: h, paper, areas, runs }) {
      const rectangles = areas.map(
        (area) =>
          `<rect x="${area.x}" y="${area.y}" width="${area.width}" height="${area.height}" fill="${area.colour}"/>`,
      );
      return [
        `<svg xmlns="http://www.w3.org/2000/svg" width="${w}" height="${h}">`,
        `<rect width="${w}" height="${h}" fill="${paper}"/>`,
        ...rectangles,
        ...runs.map(outline),
        "</svg>",
      ].join("");
    },
  };
}
