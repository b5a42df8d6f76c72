import { type LinkBelief, linkBelief, type LinkModel } from "@longshore/core";
import type { BeliefMemory, LinkHint } from "@longshore/core/internal";
import type { EndpointInfo } from "@longshore/core";
import { linkHint } from "@longshore/nodejs";

/** The belief about the link to an address before it is used; if it rejects, there is none. */
export type LinkHints = (address: string) => Promise<LinkHint | undefined>;

/** The key of a stored belief about a link. It contains the address: an endpoint at another address may be elsewhere. */
export function linkKey({ id, address }: Pick<EndpointInfo, "id" | "address">): string {
  return `${id} ${address ?? ""}`;
}

/**
 * A belief about the link to an address that begins at the given hint or, without one, at the facts of this machine: they are
 * read meanwhile, and change nothing that was measured by then. False: neither.
 */
export function hintedLink(
  model: LinkModel,
  address: string,
  said: LinkHint | false | undefined,
  hints: LinkHints = linkHint,
  memory?: ReturnType<BeliefMemory["link"]>,
): LinkBelief {
  const link = linkBelief({ model, ...(said ? { hint: said } : {}), ...(memory ? { memory } : {}) });
  const nothing = (): undefined => undefined;
  if (said === undefined)
    void hints(address)
      .then((hint) => hint && link.hinted(hint))
      .catch(nothing);
  return link;
}

/** The beliefs about links that are worth storing. */
export function rememberedOf(
  links: Iterable<readonly [string, LinkBelief]>,
  nowMs: number,
): ReadonlyMap<string, NonNullable<ReturnType<LinkBelief["remember"]>>> {
  const told = new Map<string, NonNullable<ReturnType<LinkBelief["remember"]>>>();
  for (const [key, link] of links) {
    const memory = link.remember(nowMs);
    if (memory) told.set(key, memory);
  }
  return told;
}
