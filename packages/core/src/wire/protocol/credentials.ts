import { LongshoreError } from "../../words/base/index.ts";

/** The credentials that a client shows a server. Kept out of every message, event and address. */
export interface Credentials {
  /**
   * An API key or token, sent as `Authorization: Bearer`. A function is called for each request, so that tokens can be renewed.
   */
  readonly bearer: string | (() => string | Promise<string>);
  /**
   * Send it over plain HTTP to another machine too, where everybody on the way can read it. Default false: such a transport
   * is refused.
   */
  readonly overPlainHttp?: boolean;
}

/** RFC 6750's token68. Any other character in a credential could start other headers. */
const bearerText = /^[A-Za-z0-9._~+/-]{1,8192}=*$/;

const local = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])$/;

function refused(message: string): LongshoreError {
  return new LongshoreError("invalid-configuration", "resolve", message);
}

/**
 * Checks the address that credentials would go to. Throws `invalid-configuration` for an address with credentials in it (they
 * would be shown wherever the address is), and for credentials over an unencrypted connection.
 */
export function checkCredentialTarget(url: URL, credentials: Credentials | undefined): void {
  if (url.username !== "" || url.password !== "") {
    throw refused(
      `credentials do not belong into an address; give them to the transport of ${url.host} instead`,
    );
  }
  if (!credentials || url.protocol === "https:" || credentials.overPlainHttp === true) return;
  if (local.test(url.hostname)) return;
  throw refused(
    `credentials for ${url.host} would be readable on the way; use https, or say overPlainHttp (--at-over-plain-http)`,
  );
}

async function bearerOf({ bearer }: Credentials): Promise<string> {
  if (typeof bearer === "string") return bearer;
  try {
    return await bearer();
  } catch (thrown) {
    throw new LongshoreError(
      "unauthenticated",
      "transport",
      "there is no credential to show: getting one failed",
      {
        cause: thrown,
      },
    );
  }
}

/**
 * The headers that show credentials. Throws `invalid-configuration` for what cannot be one, without repeating it, and
 * `unauthenticated` when the function for it fails.
 */
export async function credentialHeaders(
  credentials: Credentials | undefined,
): Promise<Record<string, string>> {
  if (!credentials) return {};
  const text = await bearerOf(credentials);
  if (!bearerText.test(text)) throw refused("the credential is not of the form that a bearer credential has");
  return { authorization: `Bearer ${text}` };
}
