import { type Call, LongshoreError } from "@longshore/core";
import { fanOut } from "@longshore/core/internal";
import type { Engine } from "@longshore/engine";

/** The target of loads, and the receiver of reports of failed ones. */
export interface LoadParts {
  readonly engine: Pick<Engine, "load" | "uses">;
  readonly missing: {
    failed(model: string, absent?: boolean): void;
    isSettled(model: string): boolean;
  };
  readonly report: (text: string) => void;
}

/** As many as Triton loads at a time. */
const loadsAtOnce = 4;

/**
 * Loads models, several at a time, each after those that it uses: they would have it read again. A model that finds no memory
 * is loaded again alone, when idle models may go for it. Failures are reported in the order of the models, or the first of them
 * ends the others and is thrown (`exitOnError`), once no load is under way any more.
 */
export async function loadAll(
  wanted: readonly string[],
  exitOnError: boolean,
  { engine, missing, report }: LoadParts,
  call: Call,
): Promise<void> {
  const order = await partsFirst(wanted, engine);
  const begun = new Map<string, Promise<void>>();
  const again: number[] = [];
  /** The outcome of each, in their order: why it failed, or undefined. */
  const outcomes: (string | undefined)[] = [];
  let told = 0;

  function ended(at: number, problem?: string): void {
    outcomes[at] = problem;
    for (; told in outcomes; told++) {
      const text = outcomes[told];
      if (text !== undefined) report(text);
    }
  }

  async function load(at: number, model: string, own: Call, alone: boolean): Promise<void> {
    // Loaded, unloaded or removed while those before it were loaded.
    if (missing.isSettled(model)) return ended(at);
    try {
      await engine.load(model, undefined, own);
      ended(at);
    } catch (thrown) {
      const { reason, stage, message } = LongshoreError.from(thrown, "resolve", "loading a model");
      if (reason === "memory-limit" && !alone) return void again.push(at);
      if (exitOnError && !missing.isSettled(model)) {
        throw new LongshoreError(
          reason,
          stage,
          `${message}; nothing is served without it unless that is no error (--no-exit-on-error)`,
          { cause: thrown },
        );
      }
      missing.failed(model, reason === "unknown-model");
      ended(at, message);
    }
  }

  try {
    await fanOut(order.length, loadsAtOnce, call, (at, own) => {
      const [model, uses] = order[at] ?? ["", new Set()];
      const before = [...uses].flatMap((used) => begun.get(used) ?? []);
      const loading = Promise.allSettled(before).then(() => load(at, model, own, false));
      begun.set(model, loading);
      return loading;
    });
  } finally {
    await Promise.allSettled(begun.values());
  }
  for (const at of again.sort((a, b) => a - b)) await load(at, order[at]?.[0] ?? "", call, true);
}

/** Each after what it is made of, with all of that. Of models that are made of each other, one comes first. */
async function partsFirst(
  wanted: readonly string[],
  engine: LoadParts["engine"],
): Promise<readonly (readonly [model: string, uses: ReadonlySet<string>])[]> {
  const seen = new Map<string, Set<string>>();
  const order: [string, ReadonlySet<string>][] = [];
  async function visit(model: string): Promise<ReadonlySet<string>> {
    const known = seen.get(model);
    if (known) return known;
    const all = new Set<string>();
    seen.set(model, all);
    // Why it cannot be read is what its load fails with.
    for (const used of await engine.uses(model).catch(() => [])) {
      all.add(used);
      for (const inner of await visit(used)) all.add(inner);
    }
    if (wanted.includes(model)) order.push([model, all]);
    return all;
  }
  for (const model of wanted) await visit(model);
  return order;
}
