import { read } from "../protocol/index.ts";
import type { ModelListing } from "../endpoint/index.ts";

const { fields, list, optional, text, word } = read;

/** Where a server of Triton's extensions lists its models. */
export const indexPath = "/v2/repository/index";

const entries = list(
  fields({
    name: text(512),
    version: optional(text(512)),
    // No request came yet: the first one loads it.
    state: optional(word("READY", "LOADING", "UNLOADING", "UNAVAILABLE", "UNKNOWN", "")),
    reason: optional(text(4096)),
  }),
  65_536,
);

/** Reads the index of a server's repository. Throws `invalid-input` naming the field. */
export function modelListings(json: unknown): readonly ModelListing[] {
  return entries(json, "index").map(({ name, version = "", state, reason = "" }) => ({
    name,
    version,
    state: state === "READY" || state === "LOADING" || state === "UNLOADING" ? state : "UNAVAILABLE",
    reason,
  }));
}
