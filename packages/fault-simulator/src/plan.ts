import { LongshoreError } from "@longshore/core";

/** The kinds of faults, in the words of plans. */
export const faultKinds = [
  "kill",
  "freeze",
  "drain",
  "slow",
  "wall-jump",
  "partition",
  "reset",
  "lose-request",
  "lose-reply",
  "cut-request",
  "cut-reply",
  "double-request",
  "late-reply",
  "flip-request",
  "flip-reply",
  "unheard-joins",
  "unread-directory",
  "power-cut",
  "disk-full",
  "unload",
  "replace-model",
  "swap-key",
  "entry-ends",
] as const;

/** The kind of a fault. */
export type FaultKind = (typeof faultKinds)[number];

/** Faults of the exchanges with one machine, as opposed to those of the machine. */
export const exchangeFaults: ReadonlySet<FaultKind> = new Set<FaultKind>([
  "reset",
  "lose-request",
  "lose-reply",
  "cut-request",
  "cut-reply",
  "double-request",
  "late-reply",
  "flip-request",
  "flip-reply",
  "unheard-joins",
  "unread-directory",
]);

/** One thing that goes wrong for a while. */
export interface Fault {
  readonly kind: FaultKind;
  /** The machine of the fault; for exchanges the one that receives the request. */
  readonly machine: string;
  /** From the start of the world. */
  readonly atMs: number;
  readonly forMs: number;
  /**
   * `slow`: how many times slower. `wall-jump`: by this many milliseconds. `late-reply` and `double-request`: later by this
   * many milliseconds. Exchanges are hit with probability `ratio`. 0 where a kind needs none.
   */
  readonly amount: number;
  readonly ratio: number;
}

/** A world and what goes wrong in it. */
export interface FaultPlan {
  readonly schemaVersion: 1;
  readonly seed: number;
  readonly faults: readonly Fault[];
}

function refuse(where: string, wanted: string): never {
  throw new LongshoreError(
    "invalid-configuration",
    "plan",
    `the plan is refused: ${where} must be ${wanted}`,
  );
}

function fieldsOf(value: unknown, where: string, names: readonly string[]): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return refuse(where, "an object");
  for (const name of Object.keys(value)) {
    if (!names.includes(name)) refuse(`${where}.${name}`, `absent: known are ${names.join(", ")}`);
  }
  return value as Record<string, unknown>;
}

function numberIn(value: unknown, where: string, least: number, most: number): number {
  if (typeof value === "number" && value >= least && value <= most) return value;
  return refuse(where, `a number from ${least} to ${most}, not ${shown(value)}`);
}

/** Reads a plan. Throws `invalid-configuration` with the field, the values allowed there, and every known kind of fault. */
export function planFrom(value: unknown, machines?: ReadonlySet<string>): FaultPlan {
  const plan = fieldsOf(value, "plan", ["schemaVersion", "seed", "faults"]);
  if (plan["schemaVersion"] !== 1) refuse("plan.schemaVersion", `1, not ${shown(plan["schemaVersion"])}`);
  const seed = numberIn(plan["seed"], "plan.seed", 0, Number.MAX_SAFE_INTEGER);
  if (!Number.isInteger(seed)) refuse("plan.seed", "a whole number");
  const { faults } = plan as { readonly faults?: unknown };
  if (!Array.isArray(faults)) return refuse("plan.faults", "a list");
  return {
    schemaVersion: 1,
    seed,
    faults: faults.map((fault, index) => faultFrom(fault, `plan.faults[${index}]`, machines)),
  };
}

function faultFrom(value: unknown, where: string, machines: ReadonlySet<string> | undefined): Fault {
  const fault = fieldsOf(value, where, ["kind", "machine", "atMs", "forMs", "amount", "ratio"]);
  const kind = faultKinds.find((known) => known === fault["kind"]);
  if (!kind) return refuse(`${where}.kind`, `one of ${faultKinds.join(", ")}, not ${shown(fault["kind"])}`);
  const { machine } = fault;
  if (typeof machine !== "string" || (machines && !machines.has(machine)))
    return refuse(
      `${where}.machine`,
      `one of ${[...(machines ?? ["a name"])].join(", ")}, not ${shown(machine)}`,
    );
  return {
    kind,
    machine,
    atMs: numberIn(fault["atMs"], `${where}.atMs`, 0, 3_600_000),
    forMs: numberIn(fault["forMs"] ?? 0, `${where}.forMs`, 0, 3_600_000),
    amount: numberIn(fault["amount"] ?? 0, `${where}.amount`, -1e9, 1e9),
    ratio: numberIn(fault["ratio"] ?? 1, `${where}.ratio`, 0, 1),
  };
}

function shown(value: unknown): string {
  return JSON.stringify(value ?? null).slice(0, 60);
}
