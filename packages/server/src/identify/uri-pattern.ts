/** URIs that an operator names: one, or by a trailing `/*` all below it. */
export type UriPattern = string;

/** A SPIFFE ID: trust domain and path, with the characters that the standard allows and no empty or dot segments. */
const spiffe = /^spiffe:\/\/[a-z0-9._-]{1,255}(?:\/(?!\.{1,2}(?:\/|$))[A-Za-z0-9._-]+)*$/;

/** The longest that the SPIFFE standard allows. */
const maxLength = 2048;

/** Whether a text is a SPIFFE ID, read strictly: no port, query, fragment, user or percent-encoding. */
export function isSpiffeId(text: string): boolean {
  return text.length <= maxLength && spiffe.test(text);
}

/** Whether a text is a pattern of SPIFFE IDs. */
export function isUriPattern(text: string): boolean {
  return isSpiffeId(text.endsWith("/*") ? text.slice(0, -2) : text);
}

/** Whether a URI is what a pattern names. A pattern ends at a `/`, so that `edge/*` never takes in `edge-of-others`. */
export function uriMatches(uri: string, pattern: UriPattern): boolean {
  return pattern.endsWith("/*") ? uri.startsWith(pattern.slice(0, -1)) : uri === pattern;
}
