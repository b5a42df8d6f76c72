import { LongshoreError } from "@longshore/core";
import type { LoadedVersion, ModelRepository } from "../repository/index.ts";
import { errorText } from "./load-errors.ts";

/** `available` is read and loaded when it is first used; `unavailable` says why; `unloaded` waits for a `load`. */
export type ModelState = "available" | "loading" | "ready" | "unloading" | "unloaded" | "unavailable";

/** One version in the index of a repository. */
export interface IndexEntry {
  readonly name: string;
  readonly version: string;
  readonly state: ModelState;
  /**
   * Why it is unavailable, why newer content is not served, why it runs on the processor instead of a GPU, or why a profile in its folder
   * is not used.
   */
  readonly reason?: string;
}

/** Facts about models beside the content of the repository. */
export interface IndexFacts {
  readonly repository: ModelRepository;
  /** Whether it may be used, or waits for a load. */
  isOn(model: string): boolean;
  ready(model: string): readonly LoadedVersion[];
  /** Models of which versions are ready. */
  models(): readonly string[];
  /** Why something is not served, or nothing newer, by `<model>/<version>`, and `<model>/` of the model itself. */
  readonly problems: ReadonlyMap<string, string>;
  /** Why it runs otherwise than its configuration asks: on the processor instead of a GPU. */
  notAsAsked(loaded: LoadedVersion): string | undefined;
  loading(model: string, version: string): boolean;
  unloading(model: string): boolean;
}

/** Whether the repository has a model of that name. */
export async function isIn(repository: ModelRepository, model: string): Promise<boolean> {
  try {
    await repository.versions(model);
    return true;
  } catch (thrown) {
    if (LongshoreError.is(thrown) && thrown.reason === "unknown-model") return false;
    throw thrown;
  }
}

/** Every version of every model, or of `model`, and what became of it. For one, no other folder is looked at. */
export async function indexOf(facts: IndexFacts, model?: string): Promise<readonly IndexEntry[]> {
  const failed = failedOf(facts.problems);
  if (model !== undefined) return entriesOf(facts, model, failed.get(model));
  const names = [...new Set([...(await facts.repository.names()), ...facts.models()])].sort();
  const entries: IndexEntry[] = [];
  for (const name of names) entries.push(...(await entriesOf(facts, name, failed.get(name))));
  return entries;
}

/** Versions that could not be loaded, by model: one that failed when it came is none of those that were read. */
function failedOf(problems: IndexFacts["problems"]): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const key of problems.keys()) {
    const [model = "", version = ""] = key.split("/");
    if (version === "") continue;
    const versions = found.get(model);
    if (versions) versions.push(version);
    else found.set(model, [version]);
  }
  return found;
}

async function entriesOf(
  facts: IndexFacts,
  name: string,
  failed: readonly string[] = [],
): Promise<readonly IndexEntry[]> {
  const ready = facts.ready(name);
  const served = new Map(ready.map((loaded) => [loaded.description.version, loaded]));
  let versions: readonly string[] = [];
  let problem = facts.problems.get(`${name}/`);
  try {
    versions = await facts.repository.versions(name);
  } catch (thrown) {
    problem ??= errorText(thrown);
  }
  const all = [...new Set([...versions, ...served.keys(), ...failed])];
  if (all.length > 0)
    return Promise.all(
      all.map(async (version) => {
        const loaded = served.get(version);
        // Served versions have been read. A version that loads at first use may turn out to be unreadable only then.
        const waits = !loaded && facts.isOn(name) && !facts.loading(name, version);
        const known = problem ?? facts.problems.get(`${name}/${version}`);
        const general = known ?? (waits ? await facts.repository.unreadable(name, version) : undefined);
        return entryOf(facts, name, version, loaded, general);
      }),
    );
  if (facts.unloading(name)) return [{ name, version: "", state: "unloading" }];
  if (!facts.isOn(name) && facts.problems.get(`${name}/`) === undefined)
    return [{ name, version: "", state: "unloaded" }];
  return [
    { name, version: "", state: "unavailable", reason: problem ?? "it has no version folder that is served" },
  ];
}

function entryOf(
  facts: IndexFacts,
  name: string,
  version: string,
  loaded: LoadedVersion | undefined,
  general: string | undefined,
): IndexEntry {
  const problem = facts.problems.get(`${name}/${version}`) ?? general;
  if (facts.unloading(name)) return { name, version, state: "unloading" };
  if (loaded) {
    const newer = problem === undefined ? undefined : `newer content is not served: ${problem}`;
    const reason = newer ?? facts.notAsAsked(loaded) ?? loaded.profileIgnored;
    return { name, version, state: "ready", ...(reason === undefined ? {} : { reason }) };
  }
  // Also where it was unloaded, or failed, before.
  if (facts.loading(name, version)) return { name, version, state: "loading" };
  if (problem !== undefined) return { name, version, state: "unavailable", reason: problem };
  return { name, version, state: facts.isOn(name) ? "available" : "unloaded" };
}
