import { byteCount, milliseconds } from "../options/io.ts";
import type { Figures } from "./figures.ts";

/** The column by which tables are sorted. */
export const orders = ["rate", "time", "cost", "name"] as const;
export type Order = (typeof orders)[number];

/** How figures are shown. */
export interface ScreenOptions {
  readonly columns: number;
  /** Lines that there are; undefined for all that is known. */
  readonly rows?: number;
  readonly order: Order;
  /** Stands in the first line, such as `paused`. */
  readonly note: string;
  /** Why the last look failed: the figures are of the one before. */
  readonly problem?: string;
  readonly address: string;
}

/** One line and how it stands out. */
export interface Line {
  readonly text: string;
  readonly look: "plain" | "title" | "head" | "warning" | "keys";
}

/** A column of a table: its head, its cells, and whether it may be left out where there is no room. */
interface Column<T> {
  readonly head: string;
  cell(row: T): string;
  /** Columns of a higher rank are left out first. 0 stays. */
  readonly rank: number;
}

const narrowestName = 12;

/** A count or rate for people: `0.25`, `9.8`, `1,234`. */
function amount(value: number): string {
  if (!Number.isFinite(value)) return "-";
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  if (Math.abs(value) < 10) return value.toFixed(2);
  if (Math.abs(value) < 100) return value.toFixed(1);
  return Math.round(value).toLocaleString("en-US");
}

const cut = (text: string, width: number): string =>
  text.length <= width ? text : `${text.slice(0, Math.max(0, width - 1))}~`;

/** Names are from others: what a terminal would take as a command is left out. */
const harmless = (text: string): string => text.replace(/[\p{Cc}\p{Cf}]/gu, "?");

/** The lines of a table: columns by rank as long as there is room, the first one as wide as it needs to be or as there is room for. */
function tableLines<T>(
  title: string,
  columns: readonly Column<T>[],
  rows: readonly T[],
  width: number,
): readonly Line[] {
  const cells = new Map(columns.map((column) => [column, rows.map((row) => harmless(column.cell(row)))]));
  const widthOf = (column: Column<T>): number =>
    Math.max(column.head.length, ...(cells.get(column) ?? []).map((cell) => cell.length));
  let shown = columns;
  const [name] = columns;
  if (!name) return [];
  const widthOfRest = (): number =>
    shown.filter((column) => column !== name).reduce((sum, column) => sum + 2 + widthOf(column), 0);
  while (widthOfRest() + narrowestName > width) {
    const worst = Math.max(...shown.map(({ rank }) => rank));
    if (worst === 0) break;
    shown = shown.filter(({ rank }) => rank < worst);
  }
  const nameWidth = Math.max(narrowestName, Math.min(widthOf(name), width - widthOfRest()));
  const line = (cellOf: (column: Column<T>) => string): string =>
    shown
      .map((column) =>
        column === name
          ? cut(cellOf(column), nameWidth).padEnd(nameWidth)
          : cellOf(column).padStart(widthOf(column)),
      )
      .join("  ")
      .trimEnd();
  return [
    { text: title, look: "title" },
    { text: line(({ head }) => head), look: "head" },
    ...rows.map((_, index) => ({
      text: line((column) => cells.get(column)?.[index] ?? ""),
      look: "plain" as const,
    })),
  ];
}

/** Lines of facts longer than this are hard to read. */
const longestFacts = 100;

/** Facts in as many lines as they need. */
function wrapped(facts: readonly string[], width: number): readonly string[] {
  const lines: string[] = [];
  for (const fact of facts) {
    const last = lines.at(-1);
    if (fact === "") continue;
    if (last !== undefined && last.length + 2 + fact.length <= width) lines.splice(-1, 1, `${last}  ${fact}`);
    else lines.push(fact);
  }
  return lines;
}

/** Sorts by the order, the largest first; equal rows by name. */
function sorted<T extends { readonly name: string }>(
  rows: readonly T[],
  order: Order,
  by: Readonly<Record<Exclude<Order, "name">, (row: T) => number>>,
): readonly T[] {
  const byName = (a: T, b: T): number => a.name.localeCompare(b.name);
  if (order === "name") return rows.toSorted(byName);
  const value = (row: T): number => {
    const found = by[order](row);
    return Number.isFinite(found) ? found : -1;
  };
  return rows.toSorted((a, b) => value(b) - value(a) || byName(a, b));
}

/** Cuts tables to the lines that there are: each gets its head and a row, and what is left goes to the first that need it. */
function fitted(tables: readonly (readonly Line[])[], rows: number): readonly Line[] {
  const least = 3;
  const sizes = tables.map((table) => Math.min(table.length, least));
  let left = rows - sizes.reduce((sum, size) => sum + size + 1, 0);
  for (const [index, table] of tables.entries()) {
    const more = Math.max(0, Math.min(left, table.length - (sizes[index] ?? 0)));
    sizes[index] = (sizes[index] ?? 0) + more;
    left -= more;
  }
  return tables.flatMap((table, index) => {
    const size = sizes[index] ?? 0;
    const hidden = table.length - size;
    const shown = hidden > 0 ? table.slice(0, size - 1) : table;
    const more: Line = { text: `... ${hidden + 1} more`, look: "head" };
    return [{ text: "", look: "plain" as const }, ...shown, ...(hidden > 0 ? [more] : [])];
  });
}

/** The lines of a view, none longer than the screen is wide. */
export function screenLines(figures: Figures, options: ScreenOptions): readonly Line[] {
  const { columns: width, rows, order, note, address, problem } = options;
  const { seconds, directory } = figures;
  const per = seconds === undefined ? "" : "/s";
  const state = figures.isReady ? "ready" : "NOT READY";
  const facts = [
    `answered ${amount(figures.answered)}${per}`,
    `failed ${amount(figures.failed)}${per}`,
    `in flight ${amount(figures.inFlight)}`,
    `wait ${milliseconds(figures.waitMs)}`,
    `cost ${amount(figures.micros)} micros${per}`,
    figures.joules > 0 ? `energy ${amount(figures.joules)} J${per}` : "",
    Number.isFinite(figures.busyRatio) ? `instances busy ${Math.round(figures.busyRatio * 100)} %` : "",
    `memory ${byteCount(figures.memoryBytes)}`,
    `loop delay p99 ${milliseconds(figures.loopDelayMs)}`,
    directory && directory.entries > 0
      ? `directory ${directory.entries} entries, heard ${milliseconds(directory.ageMs)} ago`
      : "",
  ];
  const name = harmless(figures.server) || "server";
  const top: Line[] = [
    {
      text: [name, harmless(address), state, ...(note === "" ? [] : [note])].join("  "),
      look: figures.isReady ? "title" : "warning",
    },
    ...(problem === undefined ? [] : [{ text: `NO ANSWER: ${harmless(problem)}`, look: "warning" as const }]),
    ...wrapped(facts, Math.min(width, longestFacts)).map((text) => ({ text, look: "plain" as const })),
  ];
  const rate = (head: string): string => `${head}${per}`;
  const tables = [
    tableLines(
      "WHO ASKS",
      [
        { head: "tenant", rank: 0, cell: ({ name }) => name },
        { head: rate("answered"), rank: 0, cell: ({ answered }) => amount(answered) },
        { head: rate("failed"), rank: 1, cell: ({ failed }) => amount(failed) },
        { head: rate("micros"), rank: 2, cell: ({ micros }) => amount(micros) },
      ],
      sorted(figures.tenants, order, {
        rate: ({ answered, failed }) => answered + failed,
        time: ({ answered, failed }) => answered + failed,
        cost: ({ micros }) => micros,
      }),
      width,
    ),
    tableLines(
      "MODELS",
      [
        { head: "model", rank: 0, cell: ({ name }) => name },
        { head: "version", rank: 3, cell: ({ version }) => version },
        { head: rate("answered"), rank: 0, cell: ({ answered }) => amount(answered) },
        { head: rate("failed"), rank: 1, cell: ({ failed }) => amount(failed) },
        { head: "p50", rank: 2, cell: ({ p50Ms }) => milliseconds(p50Ms) },
        { head: "p99", rank: 1, cell: ({ p99Ms }) => milliseconds(p99Ms) },
        { head: "in queue", rank: 2, cell: ({ queueMs }) => milliseconds(queueMs) },
        { head: "waiting", rank: 1, cell: ({ waiting }) => amount(waiting) },
        { head: "rows/run", rank: 4, cell: ({ rows: each }) => amount(each) },
      ],
      sorted(figures.models, order, {
        rate: ({ answered, failed }) => answered + failed,
        time: ({ p99Ms, p50Ms }) => (Number.isFinite(p99Ms) ? p99Ms : p50Ms),
        cost: ({ answered, failed }) => answered + failed,
      }),
      width,
    ),
    tableLines(
      "WHERE IT GOES",
      [
        { head: "endpoint", rank: 0, cell: ({ name }) => name },
        { head: rate("won"), rank: 0, cell: ({ won }) => amount(won) },
        { head: rate("lost"), rank: 3, cell: ({ lost }) => amount(lost) },
        { head: rate("failed"), rank: 1, cell: ({ failed }) => amount(failed) },
        { head: "p50", rank: 2, cell: ({ p50Ms }) => milliseconds(p50Ms) },
        { head: "p99", rank: 1, cell: ({ p99Ms }) => milliseconds(p99Ms) },
        { head: rate("micros"), rank: 1, cell: ({ micros }) => amount(micros) },
      ],
      sorted(figures.endpoints, order, {
        rate: ({ won, lost }) => won + lost,
        time: ({ p99Ms }) => p99Ms,
        cost: ({ micros }) => micros,
      }),
      width,
    ),
    tableLines(
      "FAILURES",
      [
        { head: "reason", rank: 0, cell: ({ reason }) => reason },
        { head: "stage", rank: 1, cell: ({ stage }) => stage },
        { head: seconds === undefined ? "count" : "per s", rank: 0, cell: ({ count }) => amount(count) },
      ],
      sorted(
        figures.failures.map((row) => ({ ...row, name: row.reason })),
        order,
        { rate: ({ count }) => count, time: ({ count }) => count, cost: ({ count }) => count },
      ),
      width,
    ),
  ].filter((table) => table.length > 2);
  const body =
    rows === undefined
      ? tables.flatMap((table) => [{ text: "", look: "plain" as const }, ...table])
      : fitted(tables, rows - top.length);
  return [...top, ...body].map(({ text, look }) => ({ text: cut(text, width), look }));
}
