import { type Clock, LongshoreError } from "@longshore/core";
import { modelFolders } from "./model-folders.ts";
import type { ModelStore } from "./source.ts";

/** The parts of a watch. */
export interface WatchParts {
  readonly store: ModelStore;
  readonly clock: Clock;
  /** Time between two looks. A change is reported once two looks in a row have seen the same. */
  readonly intervalMs: number;
  /** Called for new content. An error that it throws goes to `failed`, and the same content is not reported again. */
  readonly changed: (model: string) => Promise<void>;
  readonly removed: (model: string) => Promise<void>;
  readonly failed: (model: string, thrown: unknown) => void;
  /**
   * Called when a folder appears whose name rules it out as a model; an error that it throws goes to `failed`. Default: no
   * call.
   */
  readonly ignored?: () => Promise<unknown>;
}

/** A watch over a repository. Dispose it to end it. */
export interface RepositoryWatch extends Disposable {
  /** Looks now, and tells of what has settled. The timer does the same. */
  look(): Promise<void>;
}

const maxDepth = 5;
const mostFiles = 10_000;

/**
 * Watches the models of a store by looking at the names, sizes and times of their files. A copy that is still being written
 * looks different at every look, so it is reported only when two looks saw the same; hidden files and `.tmp` files are ignored.
 * The content at the first look is taken as known.
 */
export async function watchModels(parts: WatchParts): Promise<RepositoryWatch> {
  const { store, clock, intervalMs } = parts;
  const first = await lookAt(store);
  const known = first.models;
  let before = first;
  let looking: Promise<void> | undefined;
  let timer: Disposable | undefined;
  let over = false;

  async function tell(): Promise<void> {
    const now = await lookAt(store);
    for (const [model, print] of now.models) {
      if (known.get(model) === print || before.models.get(model) !== print) continue;
      known.set(model, print);
      await parts.changed(model).catch((thrown: unknown) => parts.failed(model, thrown));
    }
    for (const model of known.keys()) {
      if (now.models.has(model) || before.models.has(model)) continue;
      known.delete(model);
      await parts.removed(model).catch((thrown: unknown) => parts.failed(model, thrown));
    }
    const isNew = now.ignored.some((folder) => !before.ignored.includes(folder));
    before = now;
    if (isNew) await parts.ignored?.();
  }

  const look = (): Promise<void> => {
    looking ??= tell()
      .catch((thrown: unknown) => parts.failed("", thrown))
      .finally(() => (looking = undefined));
    return looking;
  };
  const arm = (): void => {
    timer = clock.timer(intervalMs, () => {
      void look().then(() => {
        if (!over) arm();
      });
    });
  };
  arm();
  return {
    look,
    [Symbol.dispose]: () => {
      over = true;
      timer?.[Symbol.dispose]();
    },
  };
}

/** The result of a look. */
interface Seen {
  /** Every model with a text that changes with its files. */
  readonly models: Map<string, string>;
  readonly ignored: readonly string[];
}

async function lookAt(store: ModelStore): Promise<Seen> {
  const { models, ignored } = await modelFolders(store);
  const found = new Map<string, string>();
  for (const name of models) found.set(name, await printOf(store, name));
  return { models: found, ignored };
}

async function printOf(store: ModelStore, model: string): Promise<string> {
  const lines: string[] = [];
  async function visit(path: string, depth: number): Promise<void> {
    const entries = await store.list(path).catch((thrown: unknown) => {
      // Loading the model reports an unreadable folder. Here only a change of the error counts.
      if (!LongshoreError.is(thrown)) throw thrown;
      lines.push(`${path} ${thrown.message}`);
      return [];
    });
    for (const { name, directory, bytes, modifiedMs, problem } of entries ?? []) {
      if (name.startsWith(".") || name.endsWith(".tmp") || lines.length >= mostFiles) continue;
      const inner = `${path}/${name}`;
      // An unreadable file is no content yet. It adds a line once it becomes readable.
      if (problem !== undefined) continue;
      lines.push(`${inner} ${directory ? "folder" : `${bytes} ${modifiedMs ?? 0}`}`);
      if (directory && depth < maxDepth) await visit(inner, depth + 1);
    }
  }
  await visit(model, 0);
  return lines.sort().join("\n");
}
