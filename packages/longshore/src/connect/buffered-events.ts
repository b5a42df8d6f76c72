import type { LongshoreEvent, Observer } from "@longshore/core";

/** Keeps the events of parts that open before there is an observer, and passes them on from then on. */
export interface BufferedEvents extends Observer {
  passTo(observer: Observer): void;
}

/** A directory of the most endpoints that it keeps tells of each; more are not kept. */
const mostHeld = 32_768;

/** Starts without an observer. */
export function bufferedEvents(): BufferedEvents {
  const held: LongshoreEvent[] = [];
  let to: Observer | undefined;
  return {
    record(event) {
      if (to) to.record(event);
      else if (held.length < mostHeld) held.push(event);
    },
    passTo(observer) {
      to = observer;
      for (const event of held.splice(0)) observer.record(event);
    },
  };
}
