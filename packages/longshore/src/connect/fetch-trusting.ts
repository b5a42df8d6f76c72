import { request } from "node:https";
import { Readable } from "node:stream";
import { LongshoreError } from "@longshore/core";

/**
 * A `fetch` of small documents over https that trusts these authorities (PEM) in place of the system's. It follows no redirect, and takes plain
 * headers. Node.js's own takes authorities from the environment only.
 */
export function fetchTrusting(authorities: string): (url: URL, init: RequestInit) => Promise<Response> {
  return (url, { headers, signal }) =>
    new Promise((resolve, reject) => {
      if (url.protocol !== "https:") {
        const what = `authorities are for https, and the address is ${url.protocol}//${url.host}`;
        reject(new LongshoreError("invalid-configuration", "identify", what));
        return;
      }
      const plain = Object.fromEntries(new Headers(headers));
      const asked = request(
        url,
        { ca: authorities, headers: plain, agent: false, ...(signal ? { signal } : {}) },
        (reply) => {
          const { statusCode: status = 502 } = reply;
          // Only these have a body in a `Response`.
          const body = status === 200 ? (Readable.toWeb(reply) as ReadableStream<Uint8Array>) : null;
          if (body === null) reply.resume();
          resolve(new Response(body, { status: status < 200 ? 502 : status }));
        },
      );
      asked.on("error", reject);
      asked.end();
    });
}
