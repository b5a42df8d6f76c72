import { LongshoreError } from "@longshore/core";
import type { ObjectSchema } from "../../settings/schema.ts";
import { json } from "./json.ts";
import type { EndpointKind } from "./kind.ts";
import { longshore } from "./longshore.ts";
import { oip } from "./oip.ts";

/** Kinds of endpoints by name. */
export type EndpointKinds = ReadonlyMap<string, EndpointKind>;

/** The same of a list. Throws `invalid-configuration` for a kind that is added twice. */
export function kindsOf(...kinds: readonly EndpointKind[]): EndpointKinds {
  const byName = new Map(kinds.map((one) => [one.kind, one]));
  if (byName.size === kinds.length) return byName;
  const twice = kinds.find(({ kind }, at) => kinds.findIndex((one) => one.kind === kind) < at)?.kind;
  const why = `the kind '${twice ?? ""}' of endpoints is added twice`;
  throw new LongshoreError("invalid-configuration", "resolve", why);
}

/** Every kind of endpoint. A new one is a file in this folder and a name in this list. */
export const endpointKinds: EndpointKinds = kindsOf(longshore, oip, json);

/** The default kind. */
export const usualKind: string = longshore.kind;

/** Names of all kinds. */
export const kindNames: readonly string[] = [...endpointKinds.keys()];

/** Which kind is for which product, for help. */
export const kindProducts: string = [...endpointKinds.values()]
  .flatMap(({ kind, products }) => (products === undefined ? [] : [`${kind} for ${products}`]))
  .join(", ");

/** The settings that kinds have of their own. */
export const kindSettings: readonly ObjectSchema[] = [...endpointKinds.values()].flatMap(({ settings }) =>
  settings ? [settings] : [],
);

/** The kind of that name; default: of Longshore's own servers. Throws `invalid-configuration` for an unknown one. */
export function kindOf(name: string = usualKind, kinds: EndpointKinds = endpointKinds): EndpointKind {
  const found = kinds.get(name);
  if (found) return found;
  const why = `the kind of an endpoint is ${[...kinds.keys()].join(", ")}, not '${name.slice(0, 40)}'`;
  throw new LongshoreError("invalid-configuration", "resolve", why);
}
