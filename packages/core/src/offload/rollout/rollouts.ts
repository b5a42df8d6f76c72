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

/** All aliases of an endpoint, and how far those went that are gone. */
export interface KeptAliases {
  readonly aliases: readonly Alias[];
  /** The highest revision of an alias that was removed; 0 where none was. One that is set again begins after it. */
  readonly removedRevision: number;
}

/** Where aliases are kept for after a restart. */
export interface AliasShelf {
  read(): Promise<KeptAliases>;
  /** Whole or not at all. */
  write(kept: KeptAliases): Promise<void>;
}

/** What is said of an alias. */
export interface AliasReport {
  readonly alias: Alias;
  /** Since this endpoint began with this revision. */
  readonly figures: TrialFigures | undefined;
}

/** The aliases of one endpoint. */
export interface Rollouts {
  /** At once; undefined for what is no alias. */
  find(name: string): Alias | undefined;
  list(): readonly AliasReport[];
  /**
   * Changes one by comparing and setting, once what it leads to is loaded. Throws `conflict`, `invalid-input`, and what resolving
   * and loading the version throws.
   *
   * @param sees Models that an alias can be set to; others are as if they were not there. Undefined: all.
   */
  change(
    name: string,
    asked: AskedChange,
    by: TenantId,
    sees?: (model: string) => boolean,
  ): Promise<Alias | undefined>;
  /**
   * Takes the operator's aliases, all of them that hold now: they come before those of this endpoint, and only the operator
   * changes them. What was rolled back here stays so until the operator says something newer. Candidates get requests once they
   * are loaded, or could not be.
   */
  follow(operators: readonly Alias[]): void;
  /** A request of a side was answered (`undefined`) or failed. May roll back. */
  ended(alias: Alias, side: Side, tookMs: number, failed: Reason | undefined): void;
  /** The answers of a shadow were compared. May roll back. */
  compared(alias: Alias, callId: string, difference: string | undefined): void;
}

/** What they are made of. */
export interface RolloutParts {
  readonly clock: Clock;
  readonly observer: Observer;
  /** What a version of a model consists of. Throws where there is no such version. */
  readonly resolve: (model: string, version: string) => Promise<Target>;
  /** Has a version loaded wherever it is to be served. Throws where it cannot be. Default: nothing has to be loaded. */
  readonly prepare?: (model: string, target: Target) => Promise<void>;
  /** Default: nowhere. */
  readonly shelf?: AliasShelf;
}

/** Aliases of one endpoint; each is a name in front of every request. */
const maxAliases = 1024;

/** Failures that say nothing of a version: the caller's, and those of load. */
const blameless: ReadonlySet<Reason> = new Set<Reason>([
  "cancelled",
  "queue-full",
  "rejected",
  "busier",
  "evicted",
  "shutting-down",
  "no-endpoint",
]);

/** Whether a failure speaks against the version that was asked. */
export function speaksAgainst(reason: Reason): boolean {
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

/** Reads what is kept. */
export async function openRollouts(parts: RolloutParts): Promise<Rollouts> {
  const { clock, observer, resolve, prepare, shelf } = parts;
  const aliases = new Map<string, Alias>();
  const watches = new Map<string, TrialWatch>();
  /** Of the operator: the revision that was taken over, by name. */
  const followed = new Map<string, number>();
  /** Those of them whose candidates were given up here, as they are since: so they come again where the directory was away. */
  const settled = new Map<string, Alias>();
  /** What those lead to meanwhile whose candidates are being loaded: to the stable version alone. */
  const waiting = new Map<string, Alias>();
  const kept = await shelf?.read();
  /** As in `KeptAliases`: nobody's change that was meant for an alias that is gone fits another of its name. */
  let removedRevision = kept?.removedRevision ?? 0;
  for (const alias of kept?.aliases ?? []) takeCold(alias);
  /** One change after another, so that what is compared is still so when it is set. */
  let last: Promise<unknown> = Promise.resolve();

  function take(alias: Alias): void {
    waiting.delete(alias.name);
    aliases.set(alias.name, alias);
    if (alias.trial) watches.set(alias.name, trialWatch(alias.trial));
    else watches.delete(alias.name);
  }

  /** Takes one that was not prepared. */
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

  /** What a change leads to that the alias did not lead to before, loaded. */
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

  /** `removedRevision` once an alias is gone: its removal is one change more. */
  function removedWith(alias: Alias | undefined): number {
    return alias ? Math.max(removedRevision, alias.revision + 1) : removedRevision;
  }

  /** What is kept: of the aliases those that are this endpoint's own. */
  function keptOf(all: ReadonlyMap<string, Alias>, removed = removedRevision): KeptAliases {
    return {
      aliases: [...all.values()].filter(({ name }) => !followed.has(name)),
      removedRevision: removed,
    };
  }

  /** Throws `conflict` where the alias is not the one any more that a change is meant for. */
  function refuseStale(name: string, before: Alias | undefined): void {
    const now = aliases.get(name);
    if (now !== before) throw conflict(name, before?.revision ?? 0, now?.revision ?? 0);
  }

  /** Written first: a change that cannot be kept is none. */
  async function put(name: string, before: Alias | undefined, alias: Alias | undefined): Promise<void> {
    const next = new Map(aliases);
    next.delete(name);
    if (alias) next.set(name, alias);
    if (next.size > maxAliases) {
      throw new LongshoreError("rejected", "admission", `this endpoint keeps ${maxAliases} aliases at most`);
    }
    await shelf?.write(keptOf(next, alias ? removedRevision : removedWith(before)));
    // Writing took its time, in which the operator may have taken the name, or the candidate may have been given up.
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

  /** What is in force already: whether it can be written down is another matter. */
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
        // Loading took its time, in which somebody else may have changed it, or a candidate may have been given up.
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
      if (failed !== undefined && !givenUp && !speaksAgainst(failed)) return;
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
