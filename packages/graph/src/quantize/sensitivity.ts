/** Weighted nodes that are tried together, and how much they disturb the answers. */
export interface AnswerError {
  /** Named by their outputs. */
  readonly nodes: readonly string[];
  /** One minus the agreement of the answers when these alone have 8 bits. */
  readonly error: number;
}

/** Splits nodes into at most `most` runs of neighbours, as even as they come. */
export function neighbours(nodes: readonly string[], most: number): readonly (readonly string[])[] {
  const groups = Math.min(most, nodes.length);
  return Array.from({ length: groups }, (_, at) =>
    nodes.slice(Math.floor((at * nodes.length) / groups), Math.floor(((at + 1) * nodes.length) / groups)),
  );
}

/**
 * How few of the worst must be left out so that `holds` is true: found by halving, so in about log2(n) trials. Leaving out
 * all holds by definition, and each step from there is tried before it is believed.
 */
export async function fewestLeftOut(
  worstFirst: readonly AnswerError[],
  holds: (leftOut: ReadonlySet<string>) => Promise<boolean>,
): Promise<ReadonlySet<string>> {
  const first = (count: number): ReadonlySet<string> =>
    new Set(worstFirst.slice(0, count).flatMap((one) => one.nodes));
  let [fails, works] = [0, worstFirst.length];
  while (works - fails > 1) {
    const middle = Math.floor((fails + works) / 2);
    if (await holds(first(middle))) works = middle;
    else fails = middle;
  }
  return first(works);
}
