import type { Plan } from "@longshore/core";

/** A figure of an explanation as it stands there, and half of its last digit. */
interface Figure {
  readonly value: number;
  readonly error: number;
}

/** The sides of a comparison: the text about the chosen one, and about another. */
type Sides = readonly [chosen: string, other: string];

/** Reasons to choose the slower one that carry no figure of their own. */
const reasons = /too long|since nothing takes at most|not preferred/;

/**
 * What the explanation of a plan says against its own choice; undefined if nothing. The stated times must favour the chosen side. Otherwise
 * the line must state the figures that were compared instead (`counts as`), and these must favour it, or say within which share of the
 * best it lies. Objectives other than a time are not judged.
 */
export function contradictionIn({
  because,
  objective,
}: Pick<Plan, "because" | "objective">): string | undefined {
  if (!/^(latency|mean|p\d+(\.\d+)?)$/.test(objective)) return undefined;
  const worst = sidesOf(because).find((sides) => disagrees(sides, because));
  return worst && `it chooses "${worst[0]}" before "${worst[1]}": ${because}`;
}

function sidesOf(because: string): readonly Sides[] {
  const [chosen = "", ...others] = because.split("; ");
  if (!/ finishes in about /.test(chosen)) return [];
  const compared = others.filter((text) => / would take [\d.]+ ms/.test(text) && !reasons.test(text));
  // " before edge-1 with 20 ms"
  const next = others.flatMap((text) => / before (.*)$/.exec(text)?.[1] ?? []);
  return [...compared, ...next].map((other) => [chosen, other] as const);
}

function disagrees([chosen, other]: Sides, because: string): boolean {
  if (reasons.test(chosen)) return false;
  const percentile = /% of the time within ([\d.]+) ms/;
  const stated = percentile.test(chosen)
    ? [figure(percentile, chosen), figure(percentile, other)]
    : [figure(/finishes in about ([\d.]+) ms/, chosen), figure(/(?:take|with) ([\d.]+) ms/, other)];
  const counted = [figure(/counts as ([\d.]+) ms/, chosen), figure(/counts as ([\d.]+) ms/, other)];
  const [first, second] = counted[0] && counted[1] ? counted : stated;
  if (!first || !second) return true;
  const within = Number(/within (\d+) % of the best/.exec(because)?.[1] ?? 0) / 100;
  return first.value - first.error > (second.value + second.error) * (1 + within);
}

function figure(pattern: RegExp, text: string): Figure | undefined {
  const digits = pattern.exec(text)?.[1];
  return digits === undefined
    ? undefined
    : { value: Number(digits), error: digits.includes(".") ? 0.05 : 0.5 };
}
