/**
 * Share of the characters that were read right, 0..1: one minus the edit distance (Levenshtein, 1966) over the length of the
 * truth. Lines are matched one to one, the most alike first, because readers differ in the order of columns; a line of the
 * truth that nothing matches counts whole, and so does a line that was read where there is none. Full-width forms count as
 * their plain ones (Unicode NFKC), typographic quotes and dashes as the typewriter's, and white space at the ends not at
 * all. Never below 0; 1 when there was nothing to read and nothing was read.
 */
export function ocrAccuracy(truth: readonly string[], read: readonly string[]): number {
  const wanted = truth.map(plain).filter((line) => line !== "");
  const found = read.map(plain).filter((line) => line !== "");
  const pairs = wanted
    .flatMap((line, at) => found.map((other, to) => ({ at, to, errors: distance(line, other) })))
    .map((pair) => ({
      ...pair,
      share: pair.errors / Math.max(wanted[pair.at]?.length ?? 1, found[pair.to]?.length ?? 1),
    }))
    .filter(({ share }) => share < 1)
    .sort((a, b) => a.share - b.share || a.at - b.at || a.to - b.to);
  const leftTruth = new Set(wanted.keys());
  const leftRead = new Set(found.keys());
  let errors = 0;
  for (const pair of pairs) {
    if (!leftTruth.has(pair.at) || !leftRead.has(pair.to)) continue;
    leftTruth.delete(pair.at);
    leftRead.delete(pair.to);
    errors += pair.errors;
  }
  for (const at of leftTruth) errors += wanted[at]?.length ?? 0;
  for (const to of leftRead) errors += found[to]?.length ?? 0;
  const length = wanted.reduce((sum, line) => sum + line.length, 0);
  if (length === 0) return found.length === 0 ? 1 : 0;
  return Math.max(1 - errors / length, 0);
}

function plain(line: string): string {
  return line
    .normalize("NFKC")
    .replaceAll(/[‘’]/g, "'")
    .replaceAll(/[“”]/g, '"')
    .replaceAll(/[‐‑–—]/g, "-")
    .replaceAll(/\s+/g, " ")
    .trim();
}

/** Fewest insertions, deletions and replacements of UTF-16 units that turn one text into the other. */
function distance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_unused, index) => index);
  for (let i = 1; i <= from.length; i++) {
    const next = [i];
    for (let j = 1; j <= to.length; j++) {
      const kept = (row[j - 1] ?? 0) + (from[i - 1] === to[j - 1] ? 0 : 1);
      next.push(Math.min(kept, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1));
    }
    row = next;
  }
  return row[to.length] ?? 0;
}
