import { LongshoreError, type WireRequest } from "@longshore/core";

/** Headers that a proxy adds and no page can send without the browser's question first. */
const proxyMarks: readonly string[] = ["forwarded", "x-forwarded-for", "x-forwarded-host", "via"];
const safeMethods: readonly string[] = ["GET", "HEAD", "OPTIONS"];

/**
 * Refuses what a web page of an origin that is not named sends without credentials. Browsers hide the reply from such a page, but send some
 * requests all the same (forms, texts): they would have the server compute for anyone whose page a person opens. Pages of the address that the
 * person opened, through a proxy, too, are not strangers. Throws `not-permitted`.
 *
 * @param pages Origins of pages that may use the server, or `*` for all.
 */
export function refuseStrayPage({ method, headers }: WireRequest, pages: "*" | readonly string[]): void {
  const { origin } = headers;
  if (origin === undefined || pages === "*" || pages.includes(origin)) return;
  if (safeMethods.includes(method) || headers["authorization"] !== undefined) return;
  const site = headers["sec-fetch-site"];
  const isOwn =
    site === "same-origin" ||
    proxyMarks.some((name) => headers[name] !== undefined) ||
    (site === undefined && hostOf(origin) === headers["host"]);
  if (isOwn) return;
  throw new LongshoreError(
    "not-permitted",
    "identify",
    "web pages of this origin may not use this server; the operator names those that may (--pages)",
  );
}

function hostOf(origin: string): string | undefined {
  return URL.canParse(origin) ? new URL(origin).host : undefined;
}
