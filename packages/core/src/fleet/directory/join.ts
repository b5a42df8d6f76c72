import {
  type EndpointId,
  type Json,
  LongshoreError,
  neverAborted,
  type Observer,
  type Random,
} from "../../words/base/index.ts";
import { type AskParts, askJson } from "./exchange.ts";
import { type JoinReply, type JoinRequest, joinReplyFrom } from "./join-json.ts";

/** What an endpoint needs to join a directory. */
export interface JoinParts extends AskParts {
  readonly random: Random;
  readonly observer: Observer;
  readonly id: EndpointId;
  /** Asked each time, so that what changed is told. */
  readonly request: () => Promise<Omit<JoinRequest, "schemaVersion" | "id">>;
  /** Told what the directory answered, each time that it was something else. */
  readonly answered?: (reply: JoinReply) => void;
}

/** An endpoint's membership of a directory. */
export interface Membership extends AsyncDisposable {
  /** Tells the directory now, not at the next turn, since something changed. */
  renew(): void;
}

/** The first pause after a failure, in milliseconds. */
const firstPauseMs = 500;
/** The longest, before the directory has said how long a lease is. A directory server waits for longer before it takes an endpoint for gone. */
const longestPauseMs = 15_000;

/**
 * Joins a directory over the network and stays: three times within each lease, at random moments so that endpoints do not come
 * in step. While the directory is away it tries again after 0.5 s, then twice as long up to a lease. Disposing leaves.
 */
export function joinDirectory(parts: JoinParts): Membership {
  const { clock, random, observer, id, name } = parts;
  let closed = false;
  let timer: Disposable | undefined;
  let pauseMs = firstPauseMs;
  let mostMs = longestPauseMs;
  let joinedAtMs = -Infinity;
  // It may be there as soon as it has asked: the answer may be lost, or come too late.
  let asked = false;
  let state: "in touch" | "out of touch" | undefined;
  let asking: Promise<void> = Promise.resolve();
  let answer = "";

  function noted(now: "in touch" | "out of touch", because: string): void {
    if (state === now) return;
    state = now;
    const ageMs = Math.max(0, clock.nowMs() - joinedAtMs);
    observer.record({
      kind: "directory-state",
      atMs: clock.nowMs(),
      directory: name,
      state: now,
      ageMs,
      entries: 0,
      because,
    });
  }

  async function ask(): Promise<void> {
    timer?.[Symbol.dispose]();
    timer = undefined;
    let nextMs: number;
    try {
      const request: JoinRequest = { schemaVersion: 1, id, ...(await parts.request()) };
      if (closed) return;
      asked = true;
      // A request is plain data. It is heard to its end: what is broken off may have joined all the same, or do so after it left.
      const json = await askJson(parts, "/v2/directory/join", request as unknown as Json, neverAborted);
      const reply = joinReplyFrom(json, "the reply");
      noted("in touch", `${id} joined`);
      joinedAtMs = clock.nowMs();
      pauseMs = firstPauseMs;
      mostMs = reply.leaseMs;
      const text = JSON.stringify(reply);
      if (text !== answer) parts.answered?.(reply);
      answer = text;
      nextMs = (reply.leaseMs / 3) * (0.8 + 0.2 * random.next());
    } catch (thrown) {
      if (closed) return;
      noted("out of touch", LongshoreError.from(thrown, "transport", `joining ${name}`).message);
      nextMs = pauseMs * (0.5 + 0.5 * random.next());
      pauseMs = Math.min(mostMs, 2 * pauseMs);
    }
    if (!closed) timer = clock.timer(nextMs, turn);
  }

  const turn = (): void => {
    asking = asking.then(ask);
  };
  turn();

  return {
    renew: turn,
    async [Symbol.asyncDispose]() {
      if (closed) return;
      closed = true;
      timer?.[Symbol.dispose]();
      await asking;
      if (!asked) return;
      // Whoever does not hear it sees the lease end.
      await askJson(parts, "/v2/directory/leave", { id }, neverAborted).catch(() => undefined);
    },
  };
}
