import type { Account, StageTime } from "../endpoint/index.ts";
import { read, type Reader } from "../protocol/index.ts";

const { fields, list, number, text, word } = read;

const positive = number(0);
const name = text(512);

const segment = fields({ model: name, version: name, digest: name, variant: name, from: name, to: name });

const stage: Reader<StageTime> = fields({
  stage: word("load", "queue", "transform", "run", "encode", "decode", "send", "wait", "network", "cache"),
  name,
  tookMs: positive,
  provider: read.optional(name),
});

function accountAt(depth: number): Reader<Account> {
  const forwarded: Reader<readonly Account[]> = (value, where) =>
    depth === 0 ? read.refuse(where, "less deeply nested") : list(accountAt(depth - 1), 16)(value, where);
  return fields({
    endpoint: name,
    zone: name,
    segment,
    stages: list(stage, 1024),
    sentBytes: positive,
    receivedBytes: positive,
    energy: fields({ millijoules: positive, label: word("measured", "estimated") }),
    costMicros: positive,
    forwarded,
  });
}

/** Reads an account from its JSON value. Throws `invalid-input` naming the field. */
export function parseAccount(value: unknown): Account {
  return accountAt(8)(value, "account");
}

/** Reads a segment from its JSON value. */
export const readSegment: Reader<Account["segment"]> = segment;
