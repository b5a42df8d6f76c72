import type { Call } from "../../words/base/index.ts";
import type { Alias, Trial } from "./alias.ts";

/** Which version a request is for. */
export type Side = "stable" | "candidate";

/** A number in 0..1 that depends only on a text, evenly spread (FNV-1a with the finaliser of MurmurHash3, both in the public domain). */
export function shareOf(text: string): number {
  let hash = 0x811c9dc5;
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193);
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b);
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35);
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32;
}

/**
 * The side of a request. The same sequence, and depending on the rollout the same tenant or user, always gets the same side, at every
 * server that has the alias. A caller on the candidate at one weight stays there at a larger weight.
 */
export function sideOf({ name, trial }: Alias, call: Call, sequence: string | undefined): Side {
  if (!trial || trial.mode === "shadow") return "stable";
  return shareOf(`${name} ${trial.candidate.digest} ${keyOf(trial, call, sequence)}`) < trial.weightRatio
    ? "candidate"
    : "stable";
}

function keyOf({ by }: Trial, call: Call, sequence: string | undefined): string {
  if (by === "tenant") return `tenant ${call.tenant}`;
  if (by === "user" && call.user !== undefined) return `user ${call.tenant} ${call.user}`;
  if (sequence !== undefined) return `sequence ${call.tenant} ${sequence}`;
  return `request ${call.idempotencyKey ?? call.id}`;
}
