import type { Clock, Random } from "@longshore/core";
import type { KubernetesApi } from "./api.ts";
import { type LabelFacts, placementOf } from "./placement.ts";
import { reflect } from "./reflect.ts";

/** The labels of nodes, as far as this process may read them. */
export interface Nodes extends AsyncDisposable {
  /** Undefined for an unknown node, and while nodes may not be read. */
  of(name: string | undefined): LabelFacts | undefined;
  /** Whether nodes were read, or cannot be. */
  readonly settled: boolean;
}

/** Watches nodes; `changed` is called when a placement changed, and when nodes are settled. */
export function watchNodes(
  api: KubernetesApi,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
  changed: () => void,
): Nodes {
  let known: ReadonlyMap<string, LabelFacts> = new Map();
  let settled = false;
  const settle = (now: ReadonlyMap<string, LabelFacts>): void => {
    known = now;
    settled = true;
    changed();
  };
  const nameOf = (key: string): string => key.slice(key.indexOf("/") + 1);
  const same = (one: LabelFacts | undefined, other: LabelFacts | undefined): boolean =>
    JSON.stringify(one) === JSON.stringify(other);
  const watching = reflect<LabelFacts>({
    api,
    clock,
    random,
    path: "/api/v1/nodes",
    query: {},
    metadataOnly: true,
    project: placementOf,
    sink: {
      all: (nodes) => settle(new Map(Array.from(nodes, ([key, node]) => [nameOf(key), node]))),
      put(key, node) {
        const name = nameOf(key);
        if (same(known.get(name), node)) return;
        settle(new Map(known).set(name, node));
      },
      drop(key) {
        const now = new Map(known);
        if (now.delete(nameOf(key))) known = now;
      },
      confirmed: () => undefined,
      // Without the right to read nodes the labels of pods count, and otherwise the last state.
      failed: () => (settled ? undefined : settle(known)),
    },
  });
  return {
    of: (name) => (name === undefined ? undefined : known.get(name)),
    get settled() {
      return settled;
    },
    [Symbol.asyncDispose]: () => watching[Symbol.asyncDispose](),
  };
}
