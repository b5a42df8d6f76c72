import { LongshoreError } from "@longshore/core";

/**
 * A credential that is not good. The sender learns which kind it was and nothing of why: whether a key exists, has expired
 * or was revoked, and what a token lacks, is the operator's to see in `cause`.
 */
export function badCredential(what: string, cause: string): LongshoreError {
  return new LongshoreError("unauthenticated", "identify", `the ${what} is not valid here`, {
    cause: new Error(cause),
  });
}
