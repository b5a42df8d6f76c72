import { LongshoreError } from "@longshore/core";
import type { Pins, SplitGraph } from "@longshore/graph";

/** Most names that an error lists. */
const mostListed = 12;

/**
 * How far nodes may run and tensors may travel: a tensor that cannot travel stays where it is made, and one that `--keep` names
 * goes no further than the device, or than the endpoint after `=`. A tensor that is kept is made there, too: that it is never
 * sent says nothing when its maker runs elsewhere. Throws `invalid-input` for names that the graph does not have.
 */
export function pinsOf(
  split: SplitGraph,
  canTravel: readonly boolean[],
  keep: readonly string[],
  ids: readonly string[],
): Required<Pins> {
  const nodes: (number | undefined)[] = split.nodes.map(() => undefined);
  const tensors: (number | undefined)[] = canTravel.map((can) => (can ? undefined : 0));
  const nearest = (list: (number | undefined)[], at: number, tier: number): void => {
    list[at] = Math.min(list[at] ?? Infinity, tier);
  };
  for (const text of keep) {
    const [name, tier] = placed(text, split, ids);
    const tensor = split.names.indexOf(name);
    if (tensor >= 0) {
      nearest(tensors, tensor, tier);
      const producer = split.dag.tensors[tensor]?.producer ?? -1;
      if (producer >= 0) nearest(nodes, producer, tier);
    }
    let found = tensor >= 0;
    for (const [at, node] of split.nodes.entries()) {
      if (node.name !== name) continue;
      nearest(nodes, at, tier);
      found = true;
    }
    if (!found) throw unknown(text, split);
  }
  return { nodes, tensors };
}

/** The name and the furthest tier. A name of the graph that ends in `=ID` itself is taken as it is. */
function placed(text: string, split: SplitGraph, ids: readonly string[]): readonly [string, number] {
  const at = text.lastIndexOf("=");
  const tier = at > 0 ? ids.indexOf(text.slice(at + 1)) : -1;
  if (tier < 0 || split.names.includes(text) || split.nodes.some(({ name }) => name === text))
    return [text, 0];
  return [text.slice(0, at), tier];
}

function unknown(name: string, split: SplitGraph): LongshoreError {
  const inputs = split.inputs.map((input) => input.name);
  const alike = split.names.filter((one) => one.toLowerCase().includes(name.toLowerCase()));
  const others = alike.length > 0 ? alike : split.names.filter((one) => !inputs.includes(one));
  const more = others.length > mostListed ? ` and ${others.length - mostListed} more` : "";
  return new LongshoreError(
    "invalid-input",
    "resolve",
    `--keep ${name}: the graph has no tensor or node of that name (weights and constants are the same for every request and not meant); its inputs are ${inputs.join(", ")}, ${alike.length > 0 ? "names like it" : "other tensors"} ${others.slice(0, mostListed).join(", ")}${more}`,
  );
}
