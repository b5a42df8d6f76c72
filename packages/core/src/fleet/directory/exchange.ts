import { type Clock, housekeepingCall, type Json, LongshoreError, withTime } from "../../words/base/index.ts";
import { readBody } from "../../wire/body/index.ts";
import { type Transport } from "../../wire/transport/index.ts";
import {
  bodyCheck,
  checksumHeader,
  type Crc32,
  jsonType,
  noChecksum,
  parseJson,
  readWireError,
} from "../../wire/protocol/index.ts";

/** Maximum size of a list of endpoints in bytes; 20,000 of them take about half. */
const maxReplyBytes = 32 * 2 ** 20;

/** Parameters for requests to a server. */
export interface AskParts {
  readonly transport: Transport;
  readonly clock: Clock;
  /** Name of the server in messages. */
  readonly name: string;
  /** Time limit of a reply, in milliseconds; default 5,000. */
  readonly mostMs?: number;
  /** Checks the reply against the checksum that it asks the server for; default: no check. */
  readonly crc32?: Crc32;
}

/**
 * Sends one JSON request to a server. Throws the server's error, or that of the transport; `no-answer` after `mostMs`, `checksum-mismatch`
 * for a damaged reply, and `cancelled` when `abort` fires.
 */
export async function askJson(
  { transport, clock, name, mostMs = 5000, crc32 }: AskParts,
  path: string,
  body: Json | undefined,
  abort: AbortSignal,
): Promise<unknown> {
  const late = `${name} did not answer within ${mostMs} ms`;
  const base = housekeepingCall(`ask ${name}`, abort);
  using own = withTime(base, clock, mostMs, () => new LongshoreError("no-answer", "transport", late));
  const parts = body === undefined ? [] : [new TextEncoder().encode(JSON.stringify(body))];
  const reply = await transport.send(
    {
      method: body === undefined ? "GET" : "POST",
      path,
      headers: {
        ...(body === undefined ? {} : { "content-type": jsonType }),
        ...(crc32 ? { [checksumHeader]: noChecksum } : {}),
      },
      body: { kind: "parts", parts },
    },
    own.call,
  );
  const bytes = await readBody(reply.body, { maxBytes: maxReplyBytes });
  const check = crc32 && bodyCheck(reply.headers, `the reply of ${name}`, crc32);
  check?.add(bytes);
  check?.finish();
  if (reply.status !== 200) throw readWireError(reply.status, reply.headers, bytes, name);
  return parseJson(bytes, `the reply of ${name}`);
}
