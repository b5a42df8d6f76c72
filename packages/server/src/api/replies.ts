import { jsonType, type WireResponse } from "@longshore/core";

const encoder = new TextEncoder();

/** A JSON reply. */
export function jsonReply(value: unknown, headers: Readonly<Record<string, string>> = {}): WireResponse {
  return {
    status: 200,
    headers: { "content-type": jsonType, ...headers },
    body: { kind: "parts", parts: [encoder.encode(JSON.stringify(value))] },
  };
}

/** A text reply. */
export function textReply(text: string, type: string): WireResponse {
  return {
    status: 200,
    headers: { "content-type": type },
    body: { kind: "parts", parts: [encoder.encode(text)] },
  };
}
