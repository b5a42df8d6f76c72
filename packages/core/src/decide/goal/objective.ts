import { LongshoreError } from "../../words/base/index.ts";

/** The terms of sums: the mean of the completion time, a percentile of it (`p1` to `p99`), device energy, money, CO2. */
type GoalTerm = "mean" | `p${number}` | "energy" | "cost" | "carbon";

/**
 * The quantity that a decision minimises. `latency` and `mean`: the mean completion time. `p95`: the time within which 95 of 100 requests
 * complete. `energy`: energy of the device. `cost`: money. `carbon`: CO2 of all endpoints. `accuracy`: the probability of a wrong answer.
 * `chance`: the probability of a late answer. `throughput`: the time that the request adds to the busiest of device, links and endpoints.
 * Sums of times, energy, cost and carbon have weights: with `mean=1,energy=0.2` a millisecond weighs as much as 5 mJ. The default weight
 * is 1. `longshore split --goal` accepts the same words.
 */
export type Objective =
  | "latency"
  | GoalTerm
  | "chance"
  | "accuracy"
  | "throughput"
  | `${GoalTerm}=${number}`
  | `${GoalTerm}${"" | `=${number}`},${string}`;

/** One term of a sum; a percentile as a ratio, 0..1. */
export interface SumTerm {
  readonly of: "mean" | "energy" | "cost" | "carbon" | number;
  readonly weight: number;
}

/** An objective, read. */
export type ReadObjective =
  | { readonly kind: "sum"; readonly terms: readonly SumTerm[] }
  | { readonly kind: "chance" }
  | { readonly kind: "accuracy" }
  | { readonly kind: "throughput" };

/** Reads an objective from its words; what is wrong with it, as a sentence, where it is none. */
export function readObjective(text: string): ReadObjective | string {
  if (text === "chance" || text === "accuracy" || text === "throughput") return { kind: text };
  if (text === "latency") return latency;
  const terms: SumTerm[] = [];
  for (const part of text.split(",")) {
    const at = part.indexOf("=");
    const word = (at < 0 ? part : part.slice(0, at)).trim();
    const stated = at < 0 ? "1" : part.slice(at + 1).trim();
    const of = termOf(word);
    if (of === undefined) return noTerm(word, terms.length > 0 || part !== text);
    const weight = Number(stated);
    if (!(weight > 0)) return `the weight of ${word} must be a number above 0, such as ${word}=0.2`;
    if (weight < 1 / mostWeight || weight > mostWeight) {
      return `the weight of ${word} must be between 1e-9 and 1e9`;
    }
    if (terms.push({ of, weight }) > mostTerms) return `a sum has ${mostTerms} terms at most`;
  }
  return { kind: "sum", terms };
}

/** Bounds the work of a decision, which computes each term for each endpoint, and keeps sums finite. */
const mostTerms = 8;
const mostWeight = 1e9;

const latency: ReadObjective = { kind: "sum", terms: [{ of: "mean", weight: 1 }] };

function termOf(word: string): SumTerm["of"] | undefined {
  if (word === "mean" || word === "energy" || word === "cost" || word === "carbon") return word;
  const percent = /^p([1-9]\d?)$/.exec(word)?.[1];
  return percent === undefined ? undefined : Number(percent) / 100;
}

const alone = ["chance", "accuracy", "throughput", "latency"];

function noTerm(word: string, isSum: boolean): string {
  const known = "mean, p1 to p99, energy, cost and carbon";
  return isSum && alone.includes(word)
    ? `${word} is no sum and stands alone; sums are made of ${known}`
    : `'${word.slice(0, 40)}' is none of ${known}; latency, chance, accuracy and throughput stand alone`;
}

/** Whether energy, money or CO2 alone counts: nothing hurries then, and a second run is only for a deadline. */
export function isThrifty(objective: Objective): boolean {
  if (objective === "latency") return false;
  const read = readObjective(objective);
  if (typeof read === "string" || read.kind !== "sum") return false;
  return read.terms.every(({ of }) => of === "energy" || of === "cost" || of === "carbon");
}

/** An objective, and how surely a deadline is to be kept before it counts. */
export interface Aim {
  readonly objective: Objective;
  /**
   * In at least so many cases of all, 0..1, a plan is to be in time for its deadline, back-ups not counted; what is surest where
   * none is. Undefined: the mean, or the percentile of the objective, must meet it.
   */
  readonly minInTimeRatio?: number | undefined;
  /** 0..1. */
  readonly minAgreementRatio?: number | undefined;
}

/** Default agreement of answers; see `PlanLimits.minAgreementRatio`. */
export const usualAgreementRatio = 0.995;

/**
 * The aim as it travels to other endpoints, such as `cost;in-time=0.99`. Energy of this device is left out, and so are defaults. Answers
 * must agree as much as here, although the codecs of the transfer lose some agreement, too.
 */
export function travellingAim({ objective, minInTimeRatio, minAgreementRatio = 0 }: Aim): string | undefined {
  const theirs = objective === "latency" ? objective : theirsOf(objective);
  const sure = minInTimeRatio === undefined ? "" : `;in-time=${minInTimeRatio}`;
  const agrees = minAgreementRatio > usualAgreementRatio ? `;agreement=${minAgreementRatio}` : "";
  const told = theirs + sure + agrees;
  return told === "latency" ? undefined : told;
}

function theirsOf(objective: Objective): string {
  const read = readObjective(objective);
  if (typeof read === "string" || read.kind === "throughput") return "latency";
  if (read.kind !== "sum") return read.kind;
  const terms = read.terms.filter(({ of }) => of !== "energy");
  const words = terms.map(({ of, weight }) => {
    const word = typeof of === "number" ? `p${Math.round(of * 100)}` : of;
    return terms.length === 1 ? word : `${word}=${weight}`;
  });
  return words.length === 0 || words.join() === "mean" ? "latency" : words.join(",");
}

/** Reads what came with a request, on top of what is `usual`. Throws `invalid-input` for what cannot be read. */
export function aimFrom(told: string | undefined, usual: Partial<Aim> = {}): Aim {
  const { minAgreementRatio = usualAgreementRatio } = usual;
  if (told === undefined) return { objective: usual.objective ?? "latency", minAgreementRatio };
  if (told.length > mostCharacters) throw unreadable(`it has more than ${mostCharacters} characters`);
  const [objective = "", ...rest] = told.split(";");
  const ratios = new Map(rest.map((part) => [part.split("=")[0], ratioIn(part)]));
  if (ratios.size < rest.length) throw unreadable("it says something twice");
  if (!isObjective(objective)) {
    const why = readObjective(objective);
    throw unreadable(typeof why === "string" ? why : "");
  }
  const minInTimeRatio = ratios.get("in-time");
  const agreement = Math.max(minAgreementRatio, ratios.get("agreement") ?? 0);
  const aim = { objective, minAgreementRatio: agreement };
  return minInTimeRatio === undefined ? aim : { ...aim, minInTimeRatio };
}

function ratioIn(part: string): number {
  const ratio = Number(/^(?:in-time|agreement)=([0-9.e-]{1,24})$/.exec(part)?.[1]);
  if (ratio > 0 && ratio <= 1) return ratio;
  throw unreadable(
    `'${part.slice(0, 40)}' is neither in-time nor agreement with a number above 0, and at most 1`,
  );
}

function unreadable(why: string): LongshoreError {
  const wanted = `longshore-goal must name an objective, such as cost;in-time=0.99: ${why}`;
  return new LongshoreError("invalid-input", "admission", wanted);
}

/** Of what travels: all terms that a sum may have, with all digits. */
const mostCharacters = 320;

/** Whether a text says what to make small. */
export function isObjective(text: string): text is Objective {
  return typeof readObjective(text) !== "string";
}
