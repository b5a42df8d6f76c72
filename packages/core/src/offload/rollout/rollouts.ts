import {
  type Clock,
  dropOldest,
  failureEvent,
  LongshoreError,
  type Observer,
  type Reason,
  reasons,
  type TenantId,
} from "../../words/base/index.ts";
import {
  type Alias,
  type AskedChange,
  changedAlias,
  conflict,
  noVersion,
  rolledBack,
  type Target,
} from "./alias.ts";
import type { Side } from "./side.ts";
import { type TrialFigures, type TrialWatch, trialWatch } from "./trial-watch.ts";

/** All aliases of an endpoint, and the highest revision of the removed ones. */
export interface KeptAliases {
  readonly aliases: readonly Alias[];
  /** Highest revision of a removed alias; 0 if none was removed. A new alias starts after it. */
  readonly removedRevision: number;
}

/** Storage for aliases over a restart. */
export interface AliasShelf {
  read(): Promise<KeptAliases>;
  /** Atomic: writes all or nothing. */
  write(kept: KeptAliases): Promise<void>;
}

/** An alias with its trial figures. */
export interface AliasReport {
  readonly alias: Alias;
  /** Since this endpoint started with this revision. */
  readonly figures: TrialFigures | undefined;
}

/** The aliases of one endpoint. */
export interface Rollouts {
  /** Synchronous; undefined if the name is no alias. */
  find(name: string): Alias | undefined;
  list(): readonly AliasReport[];
  /**
   * Changes an alias by compare-and-set, after its new target was loaded. Throws `conflict`, `invalid-input`, and what resolving and
   * loading the version throws.
   *
   * @param sees Models that an alias can point to; others count as missing. Undefined: all.
   */
  change(
    name: string,
    asked: AskedChange,
    by: TenantId,
    sees?: (model: string) => boolean,
  ): Promise<Alias | undefined>;
  /**
   * Replaces the operator's aliases by the given list. They override those of this endpoint, and only the operator changes them. A rollback
   * made here stays until the operator publishes a newer revision. Candidates get requests once they are loaded, or could not be.
   */
  follow(operators: readonly Alias[]): void;
  /** Records the end of a request of a side; `failed` is undefined for an answer. May roll back. */
  ended(alias: Alias, side: Side, tookMs: number, failed: Reason | undefined): void;
  /** Records the comparison of a shadow's answer. May roll back. */
  compared(alias: Alias, callId: string, difference: string | undefined): void;
}

/** Parts of the rollouts. */
export interface RolloutParts {
  readonly clock: Clock;
  readonly observer: Observer;
  /** Returns the content of a version. Throws if there is no such version. */
  readonly resolve: (model: string, version: string) => Promise<Target>;
  /** Loads a version at each endpoint that will serve it. Throws if that fails. Default: no loading. */
  readonly prepare?: (model: string, target: Target) => Promise<void>;
  /** Default: aliases are not stored. */
  readonly shelf?: AliasShelf;
}

/** Maximum of aliases of one endpoint; every request is checked against them. */
const maxAliases = 1024;

/** Failures that say nothing about a version: those of the caller, and those of load. */
const blameless: ReadonlySet<Reason> = new Set<Reason>([
  "cancelled",
  "queue-full",
  "rejected",
  "busier",
  "evicted",
  "shutting-down",
  "no-endpoint",
]);

/** Whether a failure counts against the version that ran. */
export function countsAgainstVersion(reason: Reason): boolean {
  if (reason === "unknown-version" || reason === "unknown-model") return true;
  return reasons[reason].httpStatus >= 500 && !blameless.has(reason);
}

function notOurs(name: string): LongshoreError {
  return new LongshoreError(
    "not-permitted",
    "admission",
    `alias ${name} is the operator's: it changes with a newer entry of the directory (longshore rollout sign)`,
  );
}

/** Opens the rollouts and reads the stored aliases. */
export async function openRollouts(parts: RolloutParts): Promise<Rollouts> {
  const { clock, observer, resolve, prepare, shelf } = parts;
  const aliases = new Map<string, Alias>();
  const watches = new Map<string, TrialWatch>();
  /** The operator's aliases: the revision that was taken over, by name. */
  const followed = new Map<string, number>();
  /**
   * Operator's aliases with a candidate that was rolled back here, in their current form. They return to it after the directory was away.
   */
  const settled = new Map<string, Alias>();
  /** Operator's aliases while their candidates are loading: they point to the stable version only. */
  const waiting = new Map<string, Alias>();
  const kept = await shelf?.read();
  /** As in `KeptAliases`: a change meant for a removed alias never fits a later one of the same name. */
  let removedRevision = kept?.removedRevision ?? 0;
  for (const alias of kept?.aliases ?? []) takeCold(alias);
  /** Changes run one after another, so that a comparison still holds when the alias is set. */
  let last: Promise<unknown> = Promise.resolve();

  function take(alias: Alias): void {
    waiting.delete(alias.name);
    aliases.set(alias.name, alias);
    if (alias.trial) watches.set(alias.name, trialWatch(alias.trial));
    else watches.delete(alias.name);
  }

  /** Takes over an alias whose candidate was not loaded. */
  function takeCold(alias: Alias): void {
    take(alias);
    const { trial, ...stable } = alias;
    if (!trial || !prepare) return;
    waiting.set(alias.name, stable);
    void prepare(alias.model, trial.candidate)
      .catch((thrown: unknown) => failed(alias.name, thrown, "loading a candidate"))
      .finally(() => {
        if (waiting.get(alias.name) === stable) waiting.delete(alias.name);
      });
  }

  /** The new targets of a change, loaded. */
  async function prepared(before: Alias | undefined, { model, stable, trial }: Alias): Promise<void> {
    const had = before?.model === model ? [before.stable, before.trial?.candidate] : [];
    for (const target of trial ? [stable, trial.candidate] : [stable]) {
      if (!had.some((one) => one?.digest === target.digest)) await prepare?.(model, target);
    }
  }

  function forget(name: string): void {
    removedRevision = removedWith(aliases.get(name));
    aliases.delete(name);
    watches.delete(name);
    waiting.delete(name);
  }

  function failed(name: string, thrown: unknown, attempted: string): void {
    const error = LongshoreError.from(thrown, "admission", attempted);
    observer.record(failureEvent(error, { id: `rollout-${name}`, model: name }, clock.nowMs()));
  }

  /** `removedRevision` after the removal of an alias: the removal counts as one change. */
  function removedWith(alias: Alias | undefined): number {
    return alias ? Math.max(removedRevision, alias.revision + 1) : removedRevision;
  }

  /** The aliases to store: only this endpoint's own. */
  function keptOf(all: ReadonlyMap<string, Alias>, removed = removedRevision): KeptAliases {
    return {
      aliases: [...all.values()].filter(({ name }) => !followed.has(name)),
      removedRevision: removed,
    };
  }

  /** Throws `conflict` if the alias has changed since the revision of the change. */
  function refuseStale(name: string, before: Alias | undefined): void {
    const now = aliases.get(name);
    if (now !== before) throw conflict(name, before?.revision ?? 0, now?.revision ?? 0);
  }

  /** Written first: a change that cannot be stored is not made. */
  async function put(name: string, before: Alias | undefined, alias: Alias | undefined): Promise<void> {
    const next = new Map(aliases);
    next.delete(name);
    if (alias) next.set(name, alias);
    if (next.size > maxAliases) {
      throw new LongshoreError("rejected", "admission", `this endpoint keeps ${maxAliases} aliases at most`);
    }
    await shelf?.write(keptOf(next, alias ? removedRevision : removedWith(before)));
    // During the write the operator may have taken the name, or the candidate may have been rolled back.
    if (followed.has(name)) throw notOurs(name);
    refuseStale(name, before);
    if (alias) take(alias);
    else forget(name);
  }

  function told(
    alias: Alias | undefined,
    name: string,
    revision: number,
    what: AskedChange["change"]["do"] | "rolled back" | "followed",
    by: TenantId,
  ): void {
    observer.record({
      kind: "rollout-changed",
      atMs: clock.nowMs(),
      alias: name,
      revision: alias?.revision ?? revision,
      model: alias?.model ?? "",
      stable: alias?.stable.version ?? "",
      candidate: alias?.trial?.candidate.version ?? "",
      change: what,
      by,
      because: alias?.because ?? "it was removed",
    });
  }

  function inTurn<T>(act: () => Promise<T>): Promise<T> {
    const turn = last.then(act);
    last = turn.catch(() => undefined);
    return turn;
  }

  /** The change is already in force, whether or not it can be stored. */
  function writeDown(name: string): void {
    void inTurn(() => shelf?.write(keptOf(aliases)) ?? Promise.resolve()).catch((thrown: unknown) =>
      failed(name, thrown, "writing aliases down"),
    );
  }

  function giveUp(alias: Alias, why: string): void {
    if (aliases.get(alias.name)?.revision !== alias.revision) return;
    const next = rolledBack(alias, why);
    take(next);
    if (followed.has(next.name)) settled.set(next.name, next);
    dropOldest(settled, maxAliases);
    told(next, next.name, next.revision, "rolled back", "");
    writeDown(next.name);
  }

  const watchOf = ({ name, revision }: Alias): TrialWatch | undefined =>
    aliases.get(name)?.revision === revision ? watches.get(name) : undefined;

  return {
    find: (name) => waiting.get(name) ?? aliases.get(name),
    list: () =>
      Array.from(aliases.values(), (alias) => ({ alias, figures: watches.get(alias.name)?.figures() })),
    async change(name, asked, by, sees) {
      if (followed.has(name)) throw notOurs(name);
      const before = aliases.get(name);
      const next = await changedAlias(name, before, asked, (model, version) => {
        if (asked.change.do === "set" && sees?.(model) === false) throw noVersion(model, version);
        return resolve(model, version);
      });
      if (next) await prepared(before, next);
      return inTurn(async () => {
        if (followed.has(name)) throw notOurs(name);
        // During the load another change or a rollback may have happened.
        refuseStale(name, before);
        const set = next && !before ? { ...next, revision: removedRevision + 1 } : next;
        await put(name, before, set);
        told(set, name, asked.revision + 1, asked.change.do, by);
        return set;
      });
    },
    follow(operators) {
      const names = new Set(operators.map(({ name }) => name));
      let forgotten: string | undefined;
      for (const alias of operators) {
        const { name, revision } = alias;
        if (revision <= (followed.get(name) ?? 0)) continue;
        if (!followed.has(name) && aliases.has(name)) {
          forget(name);
          forgotten = name;
        }
        followed.set(name, revision);
        const before = settled.get(name);
        const now = before && before.revision > revision ? before : alias;
        takeCold(now);
        told(now, name, now.revision, "followed", "");
      }
      for (const [name, revision] of followed) {
        if (names.has(name)) continue;
        followed.delete(name);
        forget(name);
        forgotten = name;
        told(undefined, name, revision, "followed", "");
      }
      if (forgotten !== undefined) writeDown(forgotten);
    },
    ended(alias, side, tookMs, failed) {
      const givenUp = failed === "cancelled";
      if (failed !== undefined && !givenUp && !countsAgainstVersion(failed)) return;
      const how = givenUp ? "given up" : failed === undefined ? "answered" : "failed";
      const why = watchOf(alias)?.ended(side, tookMs, how);
      if (why !== undefined) giveUp(alias, why);
    },
    compared(alias, callId, different) {
      const why = watchOf(alias)?.compared(different === undefined);
      observer.record({
        kind: "rollout-compared",
        atMs: clock.nowMs(),
        callId,
        alias: alias.name,
        agreed: different === undefined,
      });
      if (why !== undefined) giveUp(alias, why);
    },
  };
}
