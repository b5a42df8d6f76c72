import { escapeText } from "./escape.ts";
import type { Plot } from "./plots.ts";
import { shortNumber } from "./scale.ts";
import { style } from "./style.ts";

/** A table: numbers are set to the right and shortened. */
export interface ReportTable {
  readonly kind: "table";
  readonly columns: readonly string[];
  readonly rows: readonly (readonly (string | number | boolean | null | undefined)[])[];
  /** Rows (by position) that stand out. */
  readonly highlight?: readonly number[];
}

/** A paragraph. */
export interface ReportText {
  readonly kind: "text";
  readonly text: string;
}

/** A part of a report under its own heading. */
export interface ReportSection {
  readonly title: string;
  readonly content: readonly (ReportTable | ReportText | Plot)[];
}

/** A report: first what it comes to, then the parts. */
export interface Report {
  readonly title: string;
  /** One or two sentences under the title. */
  readonly lead?: string;
  readonly summary?: ReportTable;
  readonly sections: readonly ReportSection[];
  /** The origin of the figures: machine, versions, seed, estimated parts. */
  readonly footer?: string;
}

/**
 * One HTML file without requests to anywhere: styles and plots are in it, there is no script. Reads on a phone and in print,
 * light and dark. Every text is escaped.
 */
export function htmlReport(report: Report): string {
  const { title, lead, summary, sections, footer } = report;
  const parts = sections.map(
    (section) =>
      `<section><h2>${escapeText(section.title)}</h2>${section.content.map(contentHtml).join("\n")}</section>`,
  );
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>${escapeText(title)}</title>
<style>${style}</style>
</head>
<body>
<main>
<header><h1>${escapeText(title)}</h1>${lead ? `<p class="lead">${escapeText(lead)}</p>` : ""}</header>
${summary ? tableHtml(summary) : ""}
${parts.join("\n")}
${footer ? `<footer>${escapeText(footer)}</footer>` : ""}
</main>
</body>
</html>
`;
}

function contentHtml(content: ReportTable | ReportText | Plot): string {
  if (content.kind === "text") return `<p>${escapeText(content.text)}</p>`;
  if (content.kind === "table") return tableHtml(content);
  return `<figure>${content.html}</figure>`;
}

function tableHtml(table: ReportTable): string {
  const numeric = table.columns.map((_, index) => table.rows.every((row) => isFigure(row[index])));
  const tag = (index: number): string => (numeric[index] ? ' class="number"' : "");
  const head = table.columns.map((name, index) => `<th${tag(index)}>${escapeText(name)}</th>`).join("");
  const body = table.rows.map((row, position) => {
    const cells = table.columns.map(
      (_, index) => `<td${tag(index)}>${escapeText(cellText(row[index]))}</td>`,
    );
    return `<tr${table.highlight?.includes(position) ? ' class="highlight"' : ""}>${cells.join("")}</tr>`;
  });
  return `<div class="table"><table><thead><tr>${head}</tr></thead><tbody>${body.join("\n")}</tbody></table></div>`;
}

/** Numbers, and texts that are numbers in a format of the caller. */
function isFigure(value: string | number | boolean | null | undefined): boolean {
  if (typeof value === "string") return /^[-+]?\d[\d.,]*(?:[eE][-+]?\d+)?\s?(?:%|ms|x|kB|MB)?$/.test(value);
  return typeof value !== "boolean";
}

function cellText(value: string | number | boolean | null | undefined): string {
  if (value === null || value === undefined) return "";
  if (typeof value === "number") return shortNumber(value);
  if (typeof value === "boolean") return value ? "yes" : "no";
  // A figure and its unit stay on one line.
  return value.replace(/(?<=\d) (?=(?:%|ms|s|mJ|J|B|kB|MB)(?![a-z]))/gi, "\u00a0");
}
