import type { WireRequest } from "@longshore/core";
import { looksLikeApiKey } from "./api-key.ts";
import type { ShownCredentials } from "./grant.ts";
import { badCredential } from "./refusal.ts";

/** Longest credential, in characters: tokens of real issuers stay below half of it. */
const maxCredential = 8192;

/** RFC 6750's token68; a comma or a blank inside means that a header came twice. */
const bearer = /^bearer +([A-Za-z0-9._~+/-]+=*)$/i;

/** Header that carries an API key, beside `Authorization: Bearer`. */
const keyHeader = "x-api-key";

const secretHeaders: readonly string[] = ["authorization", "proxy-authorization", "cookie", keyHeader];

/** Whether a header may hold a credential: such headers end here, and are never passed on. */
export function holdsCredential(name: string): boolean {
  return secretHeaders.includes(name);
}

/**
 * The credentials in the headers of a request. One of each kind at most: a repeated one, or one in an unknown scheme, is bad,
 * so that no two endpoints on the way can read one request as two senders'.
 */
export function shownCredentials({ headers }: WireRequest): ShownCredentials {
  const { authorization } = headers;
  const keyText = headers[keyHeader];
  let shown: ShownCredentials = {};
  if (authorization !== undefined) {
    const text = authorization.length > maxCredential ? undefined : bearer.exec(authorization.trim())?.[1];
    if (text === undefined) throw badCredential("Authorization header", "not one bearer credential");
    shown = looksLikeApiKey(text) ? { apiKey: text } : { token: text };
  }
  if (keyText === undefined) return shown;
  if (keyText === "" || keyText.length > maxCredential || shown.apiKey !== undefined) {
    throw badCredential("API key", "empty, too long, or shown twice");
  }
  return { ...shown, apiKey: keyText };
}
