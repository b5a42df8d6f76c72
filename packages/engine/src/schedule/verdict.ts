/** Whether requests for a graph may share runs if its configuration does not enable it, and why. */
export interface BatchVerdict {
  /** Most rows in one run; 1 where each request runs alone. */
  readonly maxRows: number;
  readonly because:
    | "equal answers, and it pays"
    | "it does not pay"
    | "answers depend on the rows beside them"
    | "answers differ from run to run"
    | "outputs do not follow the rows"
    | "runs failed";
}

/** Keeps verdicts between starts. A verdict holds for one graph, runtime, version of it and provider, which the key names. */
export interface BatchVerdicts {
  /** Undefined where none is kept. */
  read(key: string): Promise<BatchVerdict | undefined>;
  write(key: string, verdict: BatchVerdict): Promise<void>;
}

const reasons: readonly string[] = [
  "equal answers, and it pays",
  "it does not pay",
  "answers depend on the rows beside them",
  "answers differ from run to run",
  "outputs do not follow the rows",
  "runs failed",
] satisfies readonly BatchVerdict["because"][];

/** The JSON of a verdict; undefined for anything else. */
export function parseVerdict(value: unknown): BatchVerdict | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { maxRows, because } = value as Readonly<Record<string, unknown>>;
  const whole = typeof maxRows === "number" && Number.isInteger(maxRows) && maxRows >= 1 && maxRows <= 4096;
  if (!whole || typeof because !== "string" || !reasons.includes(because)) return undefined;
  // The list above holds every word that `because` can be.
  return { maxRows, because: because as BatchVerdict["because"] };
}
