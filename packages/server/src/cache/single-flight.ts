/**
 * Equal requests that are under way at the same time are run once.
 *
 * The obvious way, to hand the first caller's promise to the others, ties them to the first caller: when that one goes away or
 * its deadline passes, all fail. So a run has a call of its own, which ends when the last caller has left. A caller whose run
 * failed for a reason of the first caller alone runs again, led by one of the remaining callers.
 */
import { type Call, type Clock, LongshoreError, type Reason } from "@longshore/core";
import { ownCall, PassingMap, SpareControllers, untilEnded } from "@longshore/core/internal";

/** An answer, and whether it came from another's run. */
export interface SharedAnswer<T> {
  readonly value: T;
  /** Another caller's run served this one, too. */
  readonly joined: boolean;
  /** Others wait for the same value, so it must stay as it is. */
  readonly shared: boolean;
}

/** Runs under way, by key. */
export interface SingleFlight<T> {
  /** Whether one of that key is under way. */
  under(key: string): boolean;
  /** `run` gets the call of the run: it ends when its last caller has left. */
  fly(key: string, call: Call, run: (call: Call) => Promise<T>): Promise<SharedAnswer<T>>;
}

interface Flight<T> {
  readonly result: Promise<T>;
  readonly abort: AbortController;
  waiting: number;
}

/** Failures that concern the first caller (its deadline, its turn in a queue), not the request. */
const leadersOwn: readonly Reason[] = [
  "cancelled",
  "deadline-exceeded",
  "deadline-past",
  "evicted",
  "rejected",
  "busier",
  "tenant-limit",
  "queue-full",
];

/** Nothing under way. */
export function singleFlight<T>(clock: Clock): SingleFlight<T> {
  const flights = new PassingMap<string, Flight<T>>();
  const spare = new SpareControllers();

  function begin(key: string, call: Call, run: (call: Call) => Promise<T>): Flight<T> {
    const abort = spare.take();
    const own = ownCall(call);
    own.abort = abort.signal;
    const result = run(own);
    const flight: Flight<T> = { result, abort, waiting: 0 };
    flights.set(key, flight);
    const land = (): void => {
      if (flights.get(key) === flight) flights.delete(key);
    };
    result.then(land, land);
    return flight;
  }

  return {
    under: (key) => flights.has(key),
    async fly(key, call, run) {
      for (;;) {
        const under = flights.get(key);
        const flight = under ?? begin(key, call, run);
        const joined = under !== undefined;
        flight.waiting += 1;
        try {
          const value = await untilEnded(flight.result, call, clock, "execute");
          return { value, joined, shared: flight.waiting > 1 };
        } catch (thrown) {
          const ended = call.abort.aborted || clock.nowMs() >= call.deadlineMs;
          if (!joined || ended || !LongshoreError.is(thrown) || !leadersOwn.includes(thrown.reason)) {
            throw thrown;
          }
        } finally {
          flight.waiting -= 1;
          // One that has landed is not among them any more, and has nothing left to end.
          if (flight.waiting === 0 && flights.get(key) !== flight) spare.give(flight.abort);
          else if (flight.waiting === 0) {
            flights.delete(key);
            flight.abort.abort(
              new LongshoreError("cancelled", "execute", "nobody waits for the answer any more"),
            );
          }
        }
      }
    },
  };
}
