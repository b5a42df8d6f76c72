import type { Account, StageTime } from "../endpoint/index.ts";
import { read, type Reader } from "../protocol/index.ts";

const { fields, list, readNumber, readText, readWord } = read;

const positive = readNumber(0);
const name = readText(512);

const segment = fields({ model: name, version: name, digest: name, variant: name, from: name, to: name });

const stage: Reader<StageTime> = fields({
  stage: readWord(
    "load",
    "queue",
    "transform",
    "run",
    "encode",
    "decode",
    "send",
    "wait",
    "network",
    "cache",
  ),
  name,
  tookMs: positive,
  provider: read.optional(name),
});

function accountAt(depth: number): Reader<Account> {
  const forwarded: Reader<readonly Account[]> = (value, where) =>
    depth === 0
      ? read.refuseField(where, "less deeply nested")
      : list(accountAt(depth - 1), 16)(value, where);
  return fields({
    endpoint: name,
    zone: name,
    segment,
    stages: list(stage, 1024),
    sentBytes: positive,
    receivedBytes: positive,
    energy: fields({ millijoules: positive, label: readWord("measured", "estimated") }),
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
