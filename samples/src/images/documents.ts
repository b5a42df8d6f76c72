import { type Random, seededRandom } from "@longshore/core";
import type { Area, FontName, Run, Sheet, Typesetter } from "./typeset.ts";

const goods: readonly (readonly [string, number])[] = [
  ["OAT MILK 1L", 219],
  ["RYE BREAD", 345],
  ["TOMATOES LOOSE", 187],
  ["FREE RANGE EGGS 10", 329],
  ["BUTTER 250G", 279],
  ["GREEN TEA 20 BAGS", 315],
  ["ORANGE JUICE", 249],
  ["SPAGHETTI NO 5", 129],
  ["OLIVE OIL 0.5L", 899],
  ["APPLES 1KG", 298],
  ["DISH SOAP LEMON", 165],
  ["PAPER TOWELS 4X", 389],
  ["COFFEE BEANS 500G", 749],
  ["GOAT CHEESE", 412],
  ["RED LENTILS", 195],
  ["DARK CHOCOLATE 70%", 239],
  ["SPARKLING WATER", 79],
  ["BASMATI RICE 1KG", 359],
  ["CUCUMBER", 89],
  ["HONEY JAR 340G", 525],
];

const money = (cents: number): string => (cents / 100).toFixed(2);

function chosen<T>(random: Random, list: readonly T[], count: number): readonly T[] {
  const left = [...list];
  const taken: T[] = [];
  while (taken.length < count && left.length > 0) {
    taken.push(...left.splice(Math.floor(random.next() * left.length), 1));
  }
  return taken;
}

/** A till receipt of a shop that does not exist: names on the left, prices on the right. */
export function receipt(seed: number, lines: number, size: number): Sheet {
  const random = seededRandom(seed);
  const width = Math.round(size * 24);
  const margin = size * 1.5;
  const step = size * 1.55;
  const runs: Run[] = [];
  const areas: Area[] = [];
  let y = size * 3;
  const put = (
    text: string,
    align: "left" | "right" | "centre",
    font: FontName = "mono",
    scale = 1,
  ): void => {
    const x = align === "left" ? margin : align === "right" ? width - margin : width / 2;
    runs.push({ text, font, size: size * scale, x, y, align });
  };
  const row = (left: string, right: string, font: FontName = "mono"): void => {
    put(left, "left", font);
    put(right, "right", font);
    y += step;
  };
  const rule = (): void => {
    areas.push({ x: margin, y: y - size * 0.9, width: width - 2 * margin, height: 2, colour: "#333" });
    y += size * 0.7;
  };
  put("HARBOUR MARKET", "centre", "mono-bold", 1.5);
  y += step;
  put("14 Quay Street", "centre");
  y += step;
  const clock = `${9 + Math.floor(random.next() * 10)}:${10 + Math.floor(random.next() * 49)}`;
  row(`TILL ${1 + Math.floor(random.next() * 8)}`, `2026-0${1 + Math.floor(random.next() * 9)}-17 ${clock}`);
  rule();
  let total = 0;
  for (const [name, price] of chosen(random, goods, lines)) {
    total += price;
    row(name, money(price));
  }
  rule();
  row("TOTAL", money(total), "mono-bold");
  row("CARD", money(total));
  row("VAT 7% INCLUDED", money(Math.round((total * 7) / 107)));
  y += size * 0.5;
  put(`Receipt ${100000 + Math.floor(random.next() * 899999)}`, "centre");
  y += step;
  put("THANK YOU", "centre", "mono-bold");
  y += step;
  return { width, height: Math.round(y + size), paper: "#f7f5ef", areas, runs };
}

/** A shelf with price labels in rows: large prices, small unit prices and article numbers. */
export function shelf(seed: number, columns: number, rows: number, scale: number): Sheet {
  const random = seededRandom(seed);
  const [wide, tall, gap] = [400 * scale, 230 * scale, 26 * scale];
  const runs: Run[] = [];
  const areas: Area[] = [];
  const items = chosen(random, goods, columns * rows);
  for (const [index, [name, price]] of items.entries()) {
    const x = gap + (index % columns) * (wide + gap);
    const y = gap + Math.floor(index / columns) * (tall + gap);
    const offer = random.next() < 0.3;
    areas.push({ x, y, width: wide, height: tall, colour: offer ? "#ffe14d" : "#fdfdfb" });
    const title = name.replaceAll(/(?<=[A-Z])[A-Z]+/g, (letters) => letters.toLowerCase());
    const number = String(20_000_000 + Math.floor(random.next() * 9_999_999));
    const unit = `${money(price * 2)} per kg`;
    const left = x + 18 * scale;
    const right = x + wide - 18 * scale;
    runs.push(
      { text: title, font: "sans-bold", size: 31 * scale, x: left, y: y + 48 * scale },
      {
        text: money(price),
        font: "sans-bold",
        size: 78 * scale,
        x: right,
        y: y + 152 * scale,
        align: "right",
      },
      { text: unit, font: "sans", size: 19 * scale, x: left, y: y + 206 * scale },
      { text: number, font: "sans", size: 17 * scale, x: right, y: y + 206 * scale, align: "right" },
    );
  }
  return {
    width: Math.round(columns * (wide + gap) + gap),
    height: Math.round(rows * (tall + gap) + gap),
    paper: "#8a8f94",
    areas,
    runs,
  };
}

/** A printed page: a heading and running text, broken into lines that fit. */
export function page(
  setter: Typesetter,
  heading: string,
  text: string,
  size: number,
  columns: number,
  font: FontName = "serif",
): Sheet {
  const margin = size * 3;
  const width = Math.round(size * columns * 0.5 + 2 * margin);
  const runs: Run[] = [{ text: heading, font: "sans-bold", size: size * 1.5, x: margin, y: margin + size }];
  let y = margin + size * 3.6;
  let line = "";
  const flush = (): void => {
    if (line !== "") runs.push({ text: line, font, size, x: margin, y });
    line = "";
    y += size * 1.55;
  };
  for (const word of text.split(/\s+/u)) {
    const longer = line === "" ? word : `${line} ${word}`;
    if (setter.width(longer, font, size) > width - 2 * margin) flush();
    line = line === "" ? word : `${line} ${word}`;
  }
  flush();
  return { width, height: Math.round(y + margin - size), paper: "#fbfaf6", areas: [], runs };
}
