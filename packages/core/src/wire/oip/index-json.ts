import { read } from "../protocol/index.ts";
import type { ModelListing } from "../endpoint/index.ts";

const { fields, list, optional, readText, readWord } = read;

const entries = list(
  fields({
    name: readText(512),
    version: optional(readText(512)),
    // No request came yet: the first one loads it.
    state: optional(readWord("READY", "LOADING", "UNLOADING", "UNAVAILABLE", "UNKNOWN", "")),
    reason: optional(readText(4096)),
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
