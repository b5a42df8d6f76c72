import { emptyBody, type Handler, type WireResponse } from "@longshore/core";

/** Which web pages may use a server. */
export interface CorsOptions {
  /** Origins such as `https://app.example`, or `*` for all. */
  readonly origins: "*" | readonly string[];
}

/** How long a browser may remember the answer to a preflight, in seconds. */
const remembered = "600";

/** Headers of replies that pages may read, beyond those that browsers always show. */
const exposed = [
  // Without it a page would take the length of what came compressed for that of what it reads.
  "content-encoding",
  "inference-header-content-length",
  "longshore-crc32",
  "longshore-load",
  "longshore-took",
  "longshore-digest",
  "endpoint-load-metrics",
  "retry-after",
].join(", ");

function allowedFor(origin: string, { origins }: CorsOptions): boolean {
  return origins === "*" || origins.includes(origin);
}

function varying({ headers }: WireResponse): string {
  return headers["vary"] === undefined ? "origin" : `${headers["vary"]}, origin`;
}

/**
 * A handler for web pages too: answers preflights and marks replies for the allowed origins. A page of another origin gets no
 * mark, so its browser shows it nothing. Cookies are never enabled (`access-control-allow-credentials` is not sent), and a
 * request of a page never counts as one of this machine (`fromThisMachine`).
 */
export function withCors(handler: Handler, options: CorsOptions): Handler {
  return async (request, call, received) => {
    const { origin } = request.headers;
    const isOther = origin === undefined || !allowedFor(origin, options);
    // Pages are for the data port: management and metrics on ports of their own stay closed to them.
    if (request.surfaces && !request.surfaces.includes("data")) return handler(request, call, received);
    if (isOther) {
      const response = await handler(request, call, received);
      // A cache must not give this reply to a page that is named.
      return { ...response, headers: { ...response.headers, vary: varying(response) } };
    }
    const marks = { "access-control-allow-origin": origin };
    if (request.method === "OPTIONS" && request.headers["access-control-request-method"] !== undefined) {
      const preflight: WireResponse = {
        status: 204,
        headers: {
          ...marks,
          vary: "origin",
          "access-control-allow-methods": "GET, POST",
          "access-control-allow-headers": request.headers["access-control-request-headers"] ?? "",
          "access-control-max-age": remembered,
          ...(request.headers["access-control-request-private-network"] === "true"
            ? { "access-control-allow-private-network": "true" }
            : {}),
        },
        body: emptyBody,
      };
      return preflight;
    }
    const response = await handler(request, call, received);
    return {
      ...response,
      headers: {
        ...response.headers,
        ...marks,
        vary: varying(response),
        "access-control-expose-headers": exposed,
      },
    };
  };
}
