import { type Json, LongshoreError } from "../../words/base/index.ts";
import { exactly, read, type Reader, shaped } from "../../wire/protocol/index.ts";

/** A version that an alias points to, by content: heads and tails of a request always come from the same content. */
export interface Target {
  readonly version: string;
  readonly digest: string;
}

/**
 * How a candidate is tried. `canary` and `ab` send it a share of the requests. A canary that fails is rolled back, while both sides of an
 * A/B comparison stay. `shadow` runs a share on it after the caller has its answer, only to compare.
 */
export type TrialMode = "canary" | "ab" | "shadow";

/**
 * The unit that stays on one side of a rollout: each request, or all requests of a tenant or a user (`longshore-user`). A sequence always
 * stays on one side.
 */
export type StickyBy = "request" | "tenant" | "user";

/** When a candidate is rolled back automatically. */
export interface TrialLimits {
  /** Maximum error rate relative to the stable version; default 1.5. */
  readonly errorFactor: number;
  /** Maximum typical time relative to the stable version; default 1.5. */
  readonly latencyFactor: number;
  /** For a shadow: minimum share of answers that agree with the stable version's; default 0.99. */
  readonly agreementRatio: number;
  /** Minimum of candidate answers before a decision; default 20. */
  readonly minSamples: number;
  /** Probability, over the whole rollout, that a candidate within the limits is rolled back; default 0.003. */
  readonly falseAlarmRatio: number;
}

/** A candidate on trial. */
export interface Trial {
  readonly candidate: Target;
  readonly mode: TrialMode;
  /** 0..1: share of requests, tenants or users. */
  readonly weightRatio: number;
  readonly by: StickyBy;
  readonly limits: TrialLimits;
}

/** A name that points to a version of a model. It changes only by compare-and-set on its revision. */
export interface Alias {
  readonly schemaVersion: 1;
  readonly name: string;
  /** Increases with each change. It starts at 1, or after the revisions of removed aliases: no revision of a name is reused. */
  readonly revision: number;
  readonly model: string;
  readonly stable: Target;
  readonly trial?: Trial;
  /** Reason of the latest change, for display. */
  readonly because: string;
}

/** Defaults of `TrialLimits`. */
export const defaultTrialLimits: TrialLimits = {
  errorFactor: 1.5,
  latencyFactor: 1.5,
  agreementRatio: 0.99,
  minSamples: 20,
  falseAlarmRatio: 0.003,
};

const nameFrom: Reader<string> = shaped(/^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/, 128, "a name as models have");
const versionFrom: Reader<string> = shaped(/^[0-9]{1,18}$/, 18, "a version: digits");

const targetFrom: Reader<Target> = exactly({ version: versionFrom, digest: read.readText(80) });

const limitsFrom: Reader<TrialLimits> = (value, where) => ({
  ...defaultTrialLimits,
  ...exactly({
    errorFactor: read.optional(read.readNumber(1, 1000)),
    latencyFactor: read.optional(read.readNumber(1, 1000)),
    agreementRatio: read.optional(read.readNumber(0, 1)),
    minSamples: read.optional(read.readWhole(1, 1_000_000)),
    falseAlarmRatio: read.optional(read.readNumber(1e-9, 0.5)),
  })(value, where),
});

const trialFrom: Reader<Trial> = exactly({
  candidate: targetFrom,
  mode: read.readWord("canary", "ab", "shadow"),
  weightRatio: read.readNumber(0, 1),
  by: read.readWord("request", "tenant", "user"),
  limits: limitsFrom,
});

/** Parses an alias from a file. */
export const aliasFrom: Reader<Alias> = exactly({
  schemaVersion: read.readWord(1),
  name: nameFrom,
  revision: read.readWhole(1),
  model: nameFrom,
  stable: targetFrom,
  trial: read.optional(trialFrom),
  because: read.readText(1000),
});

/** A requested change of an alias. */
export type AliasChange =
  | { readonly do: "set"; readonly model: string; readonly version: string }
  | {
      readonly do: "start";
      readonly version: string;
      readonly mode: TrialMode;
      readonly weightRatio: number;
      readonly by: StickyBy;
      readonly limits: TrialLimits;
    }
  | { readonly do: "promote" }
  | { readonly do: "abort" }
  | { readonly do: "remove" };

/** A change with the revision it applies to: 0 for a new alias. */
export interface AskedChange {
  readonly revision: number;
  readonly change: AliasChange;
}

const startFrom = exactly({
  do: read.readWord("start"),
  version: versionFrom,
  mode: read.optional(read.readWord("canary", "ab", "shadow")),
  weightRatio: read.optional(read.readNumber(0, 1)),
  by: read.optional(read.readWord("request", "tenant", "user")),
  limits: read.optional(limitsFrom),
});

const changeFrom: Reader<AliasChange> = (value, where) => {
  const kind = read.readWord(
    "set",
    "start",
    "promote",
    "abort",
    "remove",
  )(read.own(read.objectAt(value, where), "do"), `${where}.do`);
  if (kind === "set")
    return exactly({ do: read.readWord("set"), model: nameFrom, version: versionFrom })(value, where);
  if (kind !== "start") return exactly({ do: read.readWord(kind) })(value, where);
  const {
    mode = "canary",
    weightRatio = 0.05,
    by = "request",
    limits = defaultTrialLimits,
    ...rest
  } = startFrom(value, where);
  return { ...rest, mode, weightRatio, by, limits };
};

/** Parses a change from the network. */
export const askedChangeFrom: Reader<AskedChange> = exactly({
  revision: read.readWhole(0),
  change: changeFrom,
});

/** An alias as JSON. */
export function aliasJson(alias: Alias): Json {
  // Aliases are plain data.
  return alias as unknown as Json;
}

/** Checks the name of an alias. */
export function aliasName(name: string): string {
  return nameFrom(name, "the name of an alias");
}

/** The error for a change of an alias that has changed meanwhile. */
export function conflict(name: string, meant: number, found: number): LongshoreError {
  return new LongshoreError(
    "conflict",
    "admission",
    `alias ${name} is at revision ${found}, and the change was meant for revision ${meant}: look at it again`,
  );
}

/** The error for a missing model or version. */
export function noVersion(model: string, version: string): LongshoreError {
  const what = `there is no version ${version} of model ${model} here`;
  return new LongshoreError("unknown-version", "resolve", what);
}

/**
 * The alias after a change; undefined if it is removed. `resolve` returns the content of a version. Throws `conflict` for a wrong revision,
 * and `invalid-input` for a change that does not apply now.
 */
export async function changedAlias(
  name: string,
  before: Alias | undefined,
  { revision, change }: AskedChange,
  resolve: (model: string, version: string) => Promise<Target>,
): Promise<Alias | undefined> {
  const found = before?.revision ?? 0;
  if (revision !== found) throw conflict(name, revision, found);
  const next = { schemaVersion: 1, name, revision: found + 1 } as const;
  if (change.do === "set") {
    const stable = await resolve(change.model, change.version);
    return { ...next, model: change.model, stable, because: `set to version ${change.version}` };
  }
  const missing = before ? undefined : "there is no such alias: set it first";
  if (!before) throw new LongshoreError("invalid-input", "admission", `${name}: ${missing}`);
  const { model, stable, trial } = before;
  if (change.do === "remove") return undefined;
  if (change.do === "start") {
    const { version, mode, weightRatio, by, limits } = change;
    const candidate = await resolve(model, version);
    if (candidate.digest === stable.digest)
      read.refuseField("version", `one with other content than the stable version ${stable.version}`);
    const because = `${mode} of version ${version} for ${+(weightRatio * 100).toFixed(3)} %`;
    return { ...next, model, stable, trial: { candidate, mode, weightRatio, by, limits }, because };
  }
  if (!trial) {
    throw new LongshoreError("invalid-input", "admission", `${name}: no candidate is on trial`);
  }
  if (change.do === "promote") {
    return {
      ...next,
      model,
      stable: trial.candidate,
      because: `version ${trial.candidate.version} was promoted`,
    };
  }
  return { ...next, model, stable, because: `the trial of version ${trial.candidate.version} was ended` };
}

/** The alias after an automatic rollback of its candidate. */
export function rolledBack({ name, revision, model, stable }: Alias, why: string): Alias {
  return { schemaVersion: 1, name, revision: revision + 1, model, stable, because: `rolled back: ${why}` };
}
