import { LongshoreError } from "@longshore/core";
import type { PeerCertificate } from "@longshore/core/internal";
import * as v from "valibot";
import type { Grant, Mechanism } from "./grant.ts";
import { badCredential } from "./refusal.ts";
import type { Right } from "./identity.ts";
import { withMeaning, rightList, rightSet, strictKeys, tenantName, uriPattern } from "./schema.ts";
import { isSpiffeId, uriMatches } from "./uri-pattern.ts";

/** An operator's rule for clients with certificates. Exactly one of `uri` and `fingerprint` is there. */
export interface CertificateRule {
  /** A SPIFFE ID, or all below one. */
  readonly uri?: string | undefined;
  /** SHA-256 of the certificate in DER, in lower-case hexadecimal digits. */
  readonly fingerprint?: string | undefined;
  readonly tenant: string;
  readonly rights: readonly Right[];
  /** Tenants that it may speak for; `*` for all. */
  readonly speaksFor?: "*" | readonly string[] | undefined;
}

/** A line of `certificates:` in `identity.yaml`. */
export const certificateSchema: v.GenericSchema<CertificateRule> = v.pipe(
  strictKeys({
    uri: v.optional(withMeaning("SPIFFE ID, or all below one with a trailing `/*`.", uriPattern)),
    fingerprint: v.optional(
      withMeaning(
        "SHA-256 of the certificate; either this or `uri`.",
        v.pipe(
          v.string(),
          v.regex(/^[0-9a-f]{64}$/, "must be a SHA-256 in 64 lower-case hexadecimal digits"),
        ),
      ),
    ),
    tenant: tenantName,
    rights: rightList,
    speaksFor: v.optional(
      withMeaning(
        "Tenants that the certificate may speak for. Default: none.",
        v.union([v.literal("*"), v.array(tenantName)]),
      ),
    ),
  }),
  v.check(
    ({ uri, fingerprint }) => (uri === undefined) !== (fingerprint === undefined),
    "must have either 'uri' or 'fingerprint'",
  ),
);

/** The SPIFFE ID of a certificate. A certificate with several URI names could be read as several senders. */
function spiffeIdOf({ uris }: PeerCertificate): string | undefined {
  const [uri] = uris;
  return uris.length === 1 && uri !== undefined && isSpiffeId(uri) ? uri : undefined;
}

/**
 * Identifies clients that connect with a certificate of the listener's own authority. Headers of the sender play no part. The
 * first rule that fits counts.
 */
export function certificateMechanism(rules: readonly CertificateRule[]): Mechanism {
  const grants = rules.map(({ uri, fingerprint, tenant, rights, speaksFor }) => ({
    uri,
    fingerprint,
    grant: { tenant, rights: rightSet(rights), ...(speaksFor === undefined ? {} : { speaksFor }) },
  }));
  return ({ peer }): Grant | undefined => {
    const certificate = peer?.certificate;
    if (!certificate) return undefined;
    if (!certificate.verified)
      throw badCredential("client certificate", "no authority of this server signed it");
    const id = spiffeIdOf(certificate);
    const found = grants.find(({ uri, fingerprint }) =>
      uri === undefined ? fingerprint === certificate.fingerprint : id !== undefined && uriMatches(id, uri),
    );
    if (found) return { name: id ?? `certificate ${certificate.fingerprint.slice(0, 16)}`, ...found.grant };
    throw new LongshoreError("not-permitted", "identify", "this client certificate may nothing here");
  };
}
