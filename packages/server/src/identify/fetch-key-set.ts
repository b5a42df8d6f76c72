import type { Clock } from "@longshore/core";
import { badIdentity } from "./schema.ts";

/** How a key set is fetched. */
export interface FetchKeySetParts {
  readonly clock: Clock;
  /** The platform's own, or one that trusts other authorities. */
  readonly fetch: (url: URL, init: RequestInit) => Promise<Response>;
  /** A token for the server of the keys. */
  readonly bearer?: string;
  /** Default 5,000. */
  readonly timeoutMs?: number;
  /** Default 262,144. */
  readonly maxBytes?: number;
}

const local = /^(localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])$/;

/** Whether keys may come from an address. */
export function isKeySetAddress(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url?.protocol === "https:" || (url?.protocol === "http:" && local.test(url.hostname));
}

/**
 * An address that keys may come from. Plain HTTP is allowed only to this machine: elsewhere an attacker on the way could
 * replace the keys. Throws `invalid-configuration`.
 */
export function keySetAddress(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (!url || !isKeySetAddress(text)) {
    throw badIdentity(
      `a key set must come from a file or an https address, not from '${text.slice(0, 200)}'`,
    );
  }
  return url;
}

async function bodyOf(response: Response, maxBytes: number): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  let length = 0;
  const reader = response.body?.getReader();
  for (;;) {
    const next = await reader?.read();
    if (!next || next.done) break;
    length += next.value.byteLength;
    if (length > maxBytes) {
      await reader?.cancel();
      throw new RangeError(`it has more than ${maxBytes} bytes`);
    }
    chunks.push(next.value);
  }
  const bytes = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, offset);
    offset += chunk.byteLength;
  }
  return bytes;
}

/** Fetches the bytes of a key set: without redirects or credentials, within a time and a size. Rejects with what went wrong. */
export async function fetchKeySet(address: string, parts: FetchKeySetParts): Promise<Uint8Array> {
  const { clock, timeoutMs = 5000, maxBytes = 262_144 } = parts;
  const url = keySetAddress(address);
  const controller = new AbortController();
  using _timer = clock.timer(timeoutMs, () =>
    controller.abort(new Error(`nothing came within ${timeoutMs} ms`)),
  );
  const get = parts.fetch;
  const response = await get(url, {
    signal: controller.signal,
    redirect: "error",
    credentials: "omit",
    headers: {
      accept: "application/jwk-set+json, application/json",
      ...(parts.bearer === undefined ? {} : { authorization: `Bearer ${parts.bearer}` }),
    },
  });
  if (!response.ok) {
    await response.body?.cancel();
    throw new Error(`the issuer answered with status ${response.status}`);
  }
  return bodyOf(response, maxBytes);
}
