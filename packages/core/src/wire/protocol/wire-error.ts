import { isReason, LongshoreError, type Reason, reasons, type Stage } from "../../words/base/index.ts";
import { jsonType } from "./names.ts";
import { own } from "./read-json.ts";

const stages: readonly Stage[] = [
  "resolve",
  "plan",
  "encode",
  "transport",
  "identify",
  "admission",
  "queue",
  "execute",
  "decode",
];

/** An error as it travels: OIP's `error` text, with our reason and stage. */
export interface WireErrorReply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly bytes: Uint8Array;
}

const encoder = new TextEncoder();

/** The public text of an internal error: its own message may contain paths or tensors. */
export function internalErrorText(callId: string): string {
  return `the server failed; its log says why under call ${callId}`;
}

/** Addresses of servers: URLs, and hosts with their ports. */
const address =
  /\b(?:https?|grpcs?|nats):\/\/[^\s,;)'"]*[^\s,;:)'"]|\b(?:\d{1,3}\.){3}\d{1,3}(?::\d{1,5})?\b|\[[0-9A-Fa-f:.]+\](?::\d{1,5})?|\b(?:localhost|[\w-]+(?:\.[\w-]+)+):\d{1,5}\b/g;

/** A line of a file, such as `rules.yaml:12`, is no address. */
const fileLine = /\.(?:ya?ml|json|pbtxt|csv|txt):\d+$/;

/** The same reason for several servers, which without their addresses says nothing more. */
const sameReason = /\ba server: ([^;()]{1,200})(?:; a server: \1(?=[;)]))+/g;

/** A message for callers, without the addresses of servers that a gateway uses. The operator finds them in the log. */
export function withoutAddresses(message: string): string {
  const told = message.replace(address, (found) => (fileLine.test(found) ? found : "a server"));
  return told.replace(sameReason, (_, reason: string) => `each server: ${reason}`);
}

/** The reply for an error. The message of an internal error stays here; the reader gets `callId` to quote to the operator. */
export function writeWireError(error: LongshoreError, callId: string): WireErrorReply {
  const { reason, stage, retryAfterMs } = error;
  const message = reason === "internal" ? internalErrorText(callId) : withoutAddresses(error.message);
  const wait = retryAfterMs === undefined ? {} : { retryAfterMs };
  return {
    status: reasons[reason].httpStatus,
    headers: {
      "content-type": jsonType,
      // RFC 9110 wants it on every 401. A sender without credentials is not told which mechanisms there are.
      ...(reason === "unauthenticated" ? { "www-authenticate": 'Bearer realm="longshore"' } : {}),
      ...(retryAfterMs === undefined
        ? {}
        : { "retry-after": String(Math.max(1, Math.ceil(retryAfterMs / 1000))) }),
    },
    bytes: encoder.encode(JSON.stringify({ error: message, reason, stage, ...wait })),
  };
}

/** The meaning of a bare HTTP status, for servers that do not state a reason of the closed list. */
function reasonOfStatus(status: number): Reason {
  if (status === 404) return "unknown-model";
  if (status === 405) return "wrong-method";
  if (status === 401) return "unauthenticated";
  if (status === 403) return "not-permitted";
  if (status === 413) return "body-too-large";
  if (status === 501) return "unsupported";
  if (status === 502) return "unreachable";
  if (status === 408 || status === 504) return "no-answer";
  if (status === 429 || status === 503) return "rejected";
  if (status >= 400 && status < 500) return "invalid-input";
  if (status >= 500) return "run-failed";
  // Redirects and other surprises: a server that does not speak the protocol.
  return "bad-reply";
}

/** Triton's text with the status for a load of a version that it has unloaded: waiting for it is useless. */
const unloaded = /version \d+ is not at ready state/;

function parsed(bytes: Uint8Array): object | undefined {
  try {
    const json = JSON.parse(new TextDecoder().decode(bytes)) as unknown;
    return typeof json === "object" && json !== null ? json : undefined;
  } catch {
    // Proxies answer with pages of their own; the status has to do then.
    return undefined;
  }
}

/** The text that Python's web servers send instead of `error`: a text, or the problem with each field. */
function detailOf(detail: unknown): unknown {
  const first: unknown = Array.isArray(detail) ? detail[0] : detail;
  return typeof first === "object" && first !== null ? own(first, "msg") : first;
}

/** The error that a reply other than 200 stands for. Never throws. */
export function readWireError(
  status: number,
  headers: Readonly<Record<string, string>>,
  bytes: Uint8Array,
  from: string,
): LongshoreError {
  const json = parsed(bytes);
  const reason = json && own(json, "reason");
  const stage = json && own(json, "stage");
  const said = json && (own(json, "error") ?? detailOf(own(json, "detail")));
  const message = typeof said === "string" ? said.slice(0, 500) : `HTTP status ${status}`;
  const told = status === 503 && unloaded.test(message) ? "unknown-version" : reasonOfStatus(status);
  const exact = json && own(json, "retryAfterMs");
  const seconds = headers["retry-after"];
  const retryAfterMs =
    typeof exact === "number" && exact >= 0
      ? exact
      : seconds !== undefined && /^[0-9]{1,6}$/.test(seconds)
        ? Number(seconds) * 1000
        : undefined;
  return new LongshoreError(
    isReason(reason) ? reason : told,
    (stages as readonly unknown[]).includes(stage) ? (stage as Stage) : "transport",
    `${from} answered: ${message}`,
    retryAfterMs === undefined ? {} : { retryAfterMs },
  );
}
