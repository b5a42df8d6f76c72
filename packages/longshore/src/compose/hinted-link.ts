import { type LinkBelief, linkBelief, type LinkModel } from "@longshore/core";
import type { LinkHint } from "@longshore/core/internal";
import { linkHint } from "@longshore/nodejs";

/** What is known of the link to an address before it is used; where it rejects, nothing is. */
export type LinkHints = (address: string) => Promise<LinkHint | undefined>;

/**
 * A belief about the link to an address that begins at what is said of it or, where nothing is, at what this machine tells: it is
 * asked meanwhile, and changes nothing that was measured by then. False: neither.
 */
export function hintedLink(
  model: LinkModel,
  address: string,
  said: LinkHint | false | undefined,
  hints: LinkHints = linkHint,
): LinkBelief {
  const link = linkBelief({ model, ...(said ? { hint: said } : {}) });
  const nothing = (): undefined => undefined;
  if (said === undefined)
    void hints(address)
      .then((hint) => hint && link.hinted(hint))
      .catch(nothing);
  return link;
}
