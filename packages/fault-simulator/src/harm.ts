import type { Random } from "@longshore/core";
import { drawWhole } from "./seeds.ts";

/** The effect of a fault on one exchange. */
export type Harm =
  /** The connection is reset before the server sees anything. */
  | { readonly kind: "reset" }
  /** Nothing of the request arrives. */
  | { readonly kind: "lose-request" }
  /** The server answers, and nothing of that arrives. */
  | { readonly kind: "lose-reply" }
  /** The connection is reset after this many bytes of the body. */
  | { readonly kind: "cut-request"; readonly afterBytes: number }
  | { readonly kind: "cut-reply"; readonly afterBytes: number }
  /** The server gets the request twice. */
  | { readonly kind: "double-request"; readonly laterMs: number }
  /** One bit of the body is not what it was; `at` in 0..1 of the body's bits. */
  | { readonly kind: "flip-request"; readonly at: number }
  | { readonly kind: "flip-reply"; readonly at: number }
  /** The reply begins later. */
  | { readonly kind: "late-reply"; readonly byMs: number };

/** A random harm of a kind. */
export function drawHarm(kind: Harm["kind"], random: Random, amount: number): Harm {
  switch (kind) {
    case "cut-request":
    case "cut-reply":
      return { kind, afterBytes: drawWhole(random, 0, 400) };
    case "double-request":
      return { kind, laterMs: random.next() * amount };
    case "flip-request":
    case "flip-reply":
      return { kind, at: random.next() };
    case "late-reply":
      return { kind, byMs: amount };
    default:
      return { kind };
  }
}

/** Changes the bit `flipped` of a body, if it lies in this chunk. */
export function flip(chunk: Uint8Array, offset: number, flipped: number | undefined): void {
  if (flipped === undefined) return;
  const at = Math.floor(flipped / 8) - offset;
  const byte = chunk[at];
  if (byte !== undefined) chunk[at] = byte ^ (1 << (flipped % 8));
}
