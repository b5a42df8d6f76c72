import {
  type EndpointId,
  type Json,
  LongshoreError,
  neverAborted,
  type Observer,
  type Random,
} from "../../words/base/index.ts";
import { type AskParts, askJson } from "./exchange.ts";
import { type EarlierReply, type JoinReply, type JoinRequest, joinReplyFrom } from "./join-json.ts";

/** Parameters for joining a directory. */
export interface JoinParts extends AskParts {
  readonly random: Random;
  readonly observer: Observer;
  readonly id: EndpointId;
  /** Called for each renewal, so that changes are reported. */
  readonly request: () => Promise<Omit<JoinRequest, "schemaVersion" | "id">>;
  /** Called with the directory's reply whenever it changes. */
  readonly answered?: (reply: JoinReply) => void;
}

/** The registration of an endpoint in a directory, which it renews. */
export interface Registration extends AsyncDisposable {
  /** Renews now instead of at the next interval, because something changed. */
  renew(): void;
}

/** The first pause after a failure, in milliseconds. */
const firstPauseMs = 500;
/** The longest pause before the directory has stated its lease. A directory server waits longer than this before it removes an endpoint. */
const longestPauseMs = 5000;
/** A pause is no longer than this share of the time since the directory was reached, or than this: most restarts are over in seconds. */
const pauseRatio = 0.25;
const shortPauseMs = 1000;
/** Renewals within a lease; a pause after a failure is no longer than the time between two. */
const renewalsPerLease = 3;
/** The longest time between a lost connection and the next request, in milliseconds. It is random, so that endpoints do not join all at once. */
const noticeMs = 400;

/**
 * Joins a directory over the network and stays: it renews three times within each lease, at random moments so that endpoints do not
 * synchronise. If the directory is unreachable it retries after 0.5 s, then ever more slowly, up to a third of a lease. Where the transport
 * tells that the directory closed its connection, as it does when its process ends, it joins again at once. Disposing leaves.
 */
export function joinDirectory(parts: JoinParts): Registration {
  const { clock, random, observer, id, name } = parts;
  let closed = false;
  let timer: Disposable | undefined;
  let pauseMs = firstPauseMs;
  let mostMs = longestPauseMs;
  let joinedAtMs = -Infinity;
  /** Time of the first failure since the last success. */
  let awaySinceMs: number | undefined;
  // It may be listed after its first request, even if the reply is lost or late.
  let asked = false;
  let state: "in touch" | "out of touch" | undefined;
  let asking: Promise<void> = Promise.resolve();
  let answer = "";
  let earlier: EarlierReply | undefined;
  /** It joins since its connection was lost. */
  let noticed = false;
  /** A directory, or a proxy before it, that ends connections while it goes on does not make it join each time. */
  let noticesFromMs = -Infinity;

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
      const request: JoinRequest = {
        schemaVersion: 1,
        id,
        ...(await parts.request()),
        ...(earlier ? { earlier } : {}),
      };
      if (closed) return;
      asked = true;
      // A request is plain data. Its reply is always awaited: an aborted request may still join, even after the leave.
      const json = await askJson(parts, "/v2/directory/join", request as unknown as Json, neverAborted);
      const reply = joinReplyFrom(json, "the reply");
      noted("in touch", `${id} joined`);
      joinedAtMs = clock.nowMs();
      pauseMs = firstPauseMs;
      awaySinceMs = undefined;
      mostMs = reply.leaseMs / renewalsPerLease;
      if (noticed && earlier?.instance === reply.earlier?.instance)
        noticesFromMs = clock.nowMs() + reply.leaseMs;
      noticed = false;
      ({ earlier } = reply);
      const text = JSON.stringify({ ...reply, earlier: undefined });
      if (text !== answer) parts.answered?.(reply);
      answer = text;
      nextMs = mostMs * (0.8 + 0.2 * random.next());
    } catch (thrown) {
      if (closed) return;
      noted("out of touch", LongshoreError.from(thrown, "transport", `joining ${name}`).message);
      nextMs = pauseMs * (0.5 + 0.5 * random.next());
      awaySinceMs ??= clock.nowMs();
      const longestMs = Math.max(shortPauseMs, pauseRatio * (clock.nowMs() - awaySinceMs));
      pauseMs = Math.min(mostMs, 2 * pauseMs, longestMs);
    }
    if (!closed) timer = clock.timer(nextMs, turn);
  }

  const turn = (): void => {
    asking = asking.then(ask);
  };
  const notices = parts.transport.watchLost?.(() => {
    if (closed || !timer || clock.nowMs() < noticesFromMs) return;
    noticed = true;
    timer[Symbol.dispose]();
    timer = clock.timer(noticeMs * random.next(), turn);
  });
  turn();

  return {
    renew: turn,
    async [Symbol.asyncDispose]() {
      if (closed) return;
      closed = true;
      notices?.[Symbol.dispose]();
      timer?.[Symbol.dispose]();
      await asking;
      if (!asked) return;
      // If the directory does not receive this, the lease ends by itself.
      await askJson(parts, "/v2/directory/leave", { id }, neverAborted).catch(() => undefined);
    },
  };
}
