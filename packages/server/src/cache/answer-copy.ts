import type { Account } from "@longshore/core";

/** Bytes that an answer takes beside its outputs: account, specs and the Map's own. */
export const entryBytes = 1024;

/** The account of an answer that cost nothing this time. */
export function fromMemory(account: Account, model: string, tookMs: number): Account {
  return {
    ...account,
    stages: [{ stage: "cache", name: model, tookMs }],
    sentBytes: 0,
    receivedBytes: 0,
    energy: { millijoules: 0, label: account.energy.label },
    costMicros: 0,
    forwarded: [],
  };
}
