/** A header's name and value, each byte a character. */
export type HeaderField = readonly [name: string, value: string];

/** RFC 7541, appendix A, from index 1. */
const fixed: readonly HeaderField[] = [
  [":authority", ""],
  [":method", "GET"],
  [":method", "POST"],
  [":path", "/"],
  [":path", "/index.html"],
  [":scheme", "http"],
  [":scheme", "https"],
  ...["200", "204", "206", "304", "400", "404", "500"].map((status): HeaderField => [":status", status]),
  ["accept-charset", ""],
  ["accept-encoding", "gzip, deflate"],
  ...[
    "accept-language",
    "accept-ranges",
    "accept",
    "access-control-allow-origin",
    "age",
    "allow",
    "authorization",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "content-length",
    "content-location",
    "content-range",
    "content-type",
    "cookie",
    "date",
    "etag",
    "expect",
    "expires",
    "from",
    "host",
    "if-match",
    "if-modified-since",
    "if-none-match",
    "if-range",
    "if-unmodified-since",
    "last-modified",
    "link",
    "location",
    "max-forwards",
    "proxy-authenticate",
    "proxy-authorization",
    "range",
    "referer",
    "refresh",
    "retry-after",
    "server",
    "set-cookie",
    "strict-transport-security",
    "transfer-encoding",
    "user-agent",
    "vary",
    "via",
    "www-authenticate",
  ].map((name): HeaderField => [name, ""]),
];

/** The size that HPACK counts for a field besides its letters. */
const fieldBytes = 32;

/** The size of a field in tables and lists. */
export function sizeOf([name, value]: HeaderField): number {
  return name.length + value.length + fieldBytes;
}

/** The headers that both ends of a connection remember of each other: HPACK's static and dynamic table. */
export class HeaderTable {
  /** The newest last. */
  readonly #own: HeaderField[] = [];
  #bytes = 0;
  #most: number;
  readonly #limit: number;
  /** Counts changes: an index that was read before the last one may mean another field now. */
  changes = 0;

  /** @param limit The largest table that the other end may request, in HPACK's count. */
  constructor(limit = 4096) {
    this.#limit = limit;
    this.#most = limit;
  }

  /** The field at an index of HPACK, undefined where there is none. */
  at(index: number): HeaderField | undefined {
    return index <= fixed.length ? fixed[index - 1] : this.#own[this.#own.length + fixed.length - index];
  }

  add(field: HeaderField): void {
    this.changes += 1;
    this.#own.push(field);
    this.#bytes += sizeOf(field);
    this.#shrink();
  }

  /** Takes a new size, false where it is above the limit. */
  resize(most: number): boolean {
    if (most > this.#limit) return false;
    this.changes += 1;
    this.#most = most;
    this.#shrink();
    return true;
  }

  #shrink(): void {
    while (this.#bytes > this.#most) {
      const oldest = this.#own.shift();
      if (!oldest) return;
      this.#bytes -= sizeOf(oldest);
    }
  }
}
