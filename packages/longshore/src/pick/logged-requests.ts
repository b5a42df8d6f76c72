import type { Clock } from "@longshore/core";
import type { AccessLogOptions, LoggedRequest } from "@longshore/grpc";
import { loggedKey, loggedNamespace } from "./names.ts";

/** The most requests that wait for their entry; beyond, the oldest one is given up. */
const mostWaiting = 65_536;
/** How long an entry may come after the proxy has closed the call of its request, in milliseconds. */
const graceMs = 2000;

/** The end of a request; undefined if its entry is lost. */
type Ended = (request: LoggedRequest | undefined) => void;

/** A request that waits for its entry. */
interface Logged {
  /** The name that the proxy has to log. */
  readonly name: string;
  /** The proxy has closed the call of the request: its entry comes soon, or never. */
  closed(): void;
}

/** Requests whose end the access log of a proxy reports. */
export interface LoggedRequests extends AccessLogOptions {
  /** A request goes to an endpoint. `ended` is called once. */
  begin(ended: Ended): Logged;
}

/**
 * Entries can be missing: the client leaves before the proxy has the name, the log breaks, or the proxy dies. So a request ends a while
 * after the proxy has closed its call, with or without an entry.
 *
 * @param id Begins each name, so that entries about another picker, or a former one on this port, are ignored.
 */
export function loggedRequests(id: string, clock: Clock): LoggedRequests {
  const waiting = new Map<string, Ended>();
  /** When the calls of waiting requests were closed, the oldest first. */
  const closed = new Map<string, number>();
  let isArmed = false;
  let count = 0;
  const end = (name: string, request: LoggedRequest | undefined): void => {
    const ended = waiting.get(name);
    waiting.delete(name);
    closed.delete(name);
    ended?.(request);
  };
  const arm = (delayMs: number): void => {
    isArmed = true;
    clock.timer(delayMs, () => {
      isArmed = false;
      const nowMs = clock.nowMs();
      for (const [name, closedMs] of closed) {
        const leftMs = closedMs + graceMs - nowMs;
        if (leftMs > 0) return arm(leftMs);
        end(name, undefined);
      }
    });
  };
  return {
    namespace: loggedNamespace,
    begin(ended) {
      for (const name of waiting.keys()) {
        if (waiting.size < mostWaiting) break;
        end(name, undefined);
      }
      const name = `${id} ${(count++).toString(36)}`;
      waiting.set(name, ended);
      return {
        name,
        closed() {
          if (!waiting.has(name) || closed.has(name)) return;
          closed.set(name, clock.nowMs());
          if (!isArmed) arm(graceMs);
        },
      };
    },
    logged(request) {
      end(request.metadata[loggedKey] ?? "", request);
    },
  };
}
