import { randomBytes } from "node:crypto";
import type { Server } from "node:https";
import type { TlsOptions as NodeTlsOptions } from "node:tls";
import { LongshoreError } from "@longshore/core";

/** The certificate of a listener, and whose clients' certificates it believes. Texts are PEM. */
export interface ListenTls {
  /** Its own, followed by what is between it and the authority that clients know. */
  readonly certificate: string;
  readonly key: string;
  /** Authorities that sign clients. Undefined: clients need no certificates. */
  readonly clientAuthorities?: string;
  /**
   * `required`: a client without a certificate of the authorities gets no connection. `optional`: clients may come without; a
   * bad certificate is refused by identity. Default `required`.
   */
  readonly clientCertificates?: "required" | "optional";
}

/** The options of Node.js' TLS servers, HTTP/2's too. TLS 1.2 and later. */
export function nodeTls({
  certificate,
  key,
  clientAuthorities,
  clientCertificates,
}: ListenTls): NodeTlsOptions {
  return {
    cert: certificate,
    key,
    minVersion: "TLSv1.2",
    // Half-open handshakes hold memory.
    handshakeTimeout: 10_000,
    ...(clientAuthorities === undefined
      ? {}
      : {
          ca: clientAuthorities,
          requestCert: true,
          rejectUnauthorized: clientCertificates !== "optional",
        }),
  };
}

/** The error for a bad certificate or key of a listener. */
export function tlsError(thrown: unknown): LongshoreError {
  const why = thrown instanceof Error ? thrown.message : String(thrown);
  return new LongshoreError(
    "invalid-configuration",
    "resolve",
    `the certificate or key cannot be used: ${why}`,
    {
      cause: thrown,
    },
  );
}

/**
 * Gives a running server another certificate or other authorities; connections that are there keep theirs. Sessions are not
 * resumed across the change, so that no client comes in by an authority that was removed. Throws `invalid-configuration` and
 * changes nothing when they cannot be used.
 */
export function renewTls(server: Server, tls: ListenTls): void {
  try {
    server.setSecureContext(nodeTls(tls));
  } catch (thrown) {
    throw tlsError(thrown);
  }
  server.setTicketKeys(randomBytes(48));
}
