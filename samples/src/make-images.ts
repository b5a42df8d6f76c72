/**
 * Makes the documents among the sample images: `node samples/dist/make-images.js`, by hand. Everything is seeded, so with the
 * same font packages and the same sharp the same files come out. Real photographs and scans beside them are left alone;
 * `inputs/images.truth.json` is rewritten for both.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { seededRandom } from "@longshore/core";
import { gaussian } from "@longshore/core/internal";
import { page, receipt, shelf } from "./images/documents.ts";
import { photographed, type Shot } from "./images/photograph.ts";
import { realImages } from "./images/real.ts";
import { type Sheet, typesetter } from "./images/typeset.ts";
import { inputsFolder } from "./folders.ts";
import { articleText } from "./language/corpus.ts";

const setter = typesetter();

interface Made {
  readonly file: string;
  readonly sheet: Sheet;
  readonly language: string;
  readonly shot: Omit<Shot, "corners" | "table" | "seed">;
  /** Share of the picture's height (or width, if it would not fit) that the sheet takes. */
  readonly fill: number;
  /** How far corners stray from a straight view, as a share of the sheet. */
  readonly tilt: number;
  readonly upsideDown?: boolean;
  readonly seed: number;
}

const wide = { width: 1920, height: 1080 };
const square = { width: 1280, height: 960 };
const camera = { blur: 0.6, noise: 5, shade: 0.25, quality: 80 };
const dim = { blur: 0.9, noise: 9, shade: 0.45, quality: 70 };

const articles = (language: string, numbers: readonly number[]): string =>
  numbers.map((number) => articleText(language, number)).join(" ");

const made: readonly Made[] = [
  {
    file: "receipt-1.jpg",
    sheet: receipt(11, 6, 40),
    language: "en",
    shot: { ...square, ...camera },
    fill: 0.95,
    tilt: 0.02,
    seed: 1,
  },
  {
    file: "receipt-2.jpg",
    sheet: receipt(12, 9, 40),
    language: "en",
    shot: { ...wide, ...camera },
    fill: 0.95,
    tilt: 0.03,
    seed: 2,
  },
  {
    file: "receipt-3.jpg",
    sheet: receipt(13, 12, 40),
    language: "en",
    shot: { ...wide, ...camera },
    fill: 0.62,
    tilt: 0.03,
    seed: 3,
  },
  {
    file: "receipt-4.jpg",
    sheet: receipt(14, 8, 40),
    language: "en",
    shot: { ...wide, ...dim },
    fill: 0.55,
    tilt: 0.04,
    seed: 4,
  },
  {
    file: "receipt-upside-down.jpg",
    sheet: receipt(15, 5, 40),
    language: "en",
    shot: { ...square, ...camera },
    fill: 0.9,
    tilt: 0.02,
    upsideDown: true,
    seed: 5,
  },
  {
    file: "shelf-1.jpg",
    sheet: shelf(21, 3, 2, 1),
    language: "en",
    shot: { ...square, ...camera },
    fill: 0.9,
    tilt: 0.03,
    seed: 6,
  },
  {
    file: "shelf-2.jpg",
    sheet: shelf(22, 6, 3, 1),
    language: "en",
    shot: { ...wide, ...camera },
    fill: 0.92,
    tilt: 0.03,
    seed: 7,
  },
  {
    file: "shelf-3.jpg",
    sheet: shelf(23, 5, 3, 1),
    language: "en",
    shot: { ...wide, ...dim },
    fill: 0.95,
    tilt: 0.04,
    seed: 8,
  },
  {
    file: "shelf-4.jpg",
    sheet: shelf(24, 2, 2, 1),
    language: "en",
    shot: { ...square, ...dim },
    fill: 0.8,
    tilt: 0.05,
    seed: 9,
  },
  {
    file: "page-en.jpg",
    sheet: page(setter, "Article 25", articles("eng", [25, 30]), 30, 62),
    language: "en",
    shot: { ...square, ...camera },
    fill: 0.95,
    tilt: 0.02,
    seed: 10,
  },
  {
    file: "page-es.jpg",
    sheet: page(setter, "Derechos 15, 20", articles("spa", [15, 20, 10]), 30, 62, "sans"),
    language: "es",
    shot: { ...square, ...camera },
    fill: 0.95,
    tilt: 0.02,
    seed: 11,
  },
  {
    file: "page-id.jpg",
    sheet: page(setter, "Pasal 25", articles("ind", [25]), 30, 58),
    language: "id",
    shot: { ...square, ...camera },
    fill: 0.95,
    tilt: 0.02,
    seed: 12,
  },
  {
    file: "page-it.jpg",
    sheet: page(setter, "Articolo 5, 10, 15", articles("ita", [5, 10, 15]), 30, 60),
    language: "it",
    shot: { ...square, ...dim },
    fill: 0.95,
    tilt: 0.02,
    seed: 13,
  },
  {
    file: "page-sw.jpg",
    sheet: page(setter, "Kifungu cha 25", articles("swh", [25, 20]), 30, 66, "sans"),
    language: "sw",
    shot: { ...wide, ...camera },
    fill: 0.75,
    tilt: 0.02,
    seed: 14,
  },
  {
    file: "page-nl.jpg",
    sheet: page(setter, "Artikel 25", articles("nld", [25, 30, 10, 15]), 30, 80),
    language: "nl",
    shot: { ...wide, ...camera },
    fill: 0.72,
    tilt: 0.02,
    seed: 15,
  },
];

function cornersOf({ sheet, shot, fill, tilt, upsideDown, seed }: Made): Shot["corners"] {
  const random = seededRandom(seed * 7919);
  const scale = Math.min((shot.height * fill) / sheet.height, (shot.width * fill) / sheet.width);
  const [halfWide, halfTall] = [(sheet.width * scale) / 2, (sheet.height * scale) / 2];
  const stray = (): number => Math.max(Math.min(gaussian(random), 1.5), -1.5) * tilt * halfTall;
  const [x, y] = [shot.width / 2, shot.height / 2];
  const corners: (readonly [number, number])[] = [
    [x - halfWide + stray(), y - halfTall + stray()],
    [x + halfWide + stray(), y - halfTall + stray()],
    [x + halfWide + stray(), y + halfTall + stray()],
    [x - halfWide + stray(), y + halfTall + stray()],
  ];
  return upsideDown ? [...corners.slice(2), ...corners.slice(0, 2)] : corners;
}

const folder = join(inputsFolder, "images");
mkdirSync(folder, { recursive: true });
const truth: object[] = [];
for (const one of made) {
  const random = seededRandom(one.seed * 104_729);
  const level = 60 + random.next() * 80;
  const bytes = await photographed(setter.svg(one.sheet), {
    ...one.shot,
    corners: cornersOf(one),
    table: [level + 25, level, level - 25],
    seed: one.seed,
  });
  writeFileSync(join(folder, one.file), bytes);
  truth.push({
    file: `images/${one.file}`,
    kind: "image",
    models: ["ocr", "ocr-language"],
    made: true,
    truth: { language: one.language, lines: one.sheet.runs.map(({ text }) => text) },
  });
  console.log(`${one.file}: ${one.shot.width}x${one.shot.height}, ${bytes.byteLength} bytes`);
}
truth.push(...realImages);
writeFileSync(join(inputsFolder, "images.truth.json"), `${JSON.stringify(truth, null, 2)}\n`);
