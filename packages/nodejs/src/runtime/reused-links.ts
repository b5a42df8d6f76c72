import type { OpenLink, RunnerLink } from "./runner-link.ts";

/** Runners kept for the next session after a release. */
export interface ReusedLinks {
  /** Takes a kept runner, or starts one. */
  readonly open: OpenLink;
  /** Ends the kept runners. Later ones are not kept. */
  close(): Promise<void>;
}

/** A link with its current listener. */
interface Kept {
  readonly inner: RunnerLink;
  events: Parameters<OpenLink>[0];
  dead: boolean;
}

/**
 * Keeps up to `most` runners whose session was released. The memory allocator does not return the memory of an ended thread, so a server
 * that loads and unloads all day would grow with each thread. The same few threads reuse their memory. Loading is faster, too. A crashed
 * runner is not kept.
 */
export function reusedLinks(start: OpenLink, most: number): ReusedLinks {
  const idle: Kept[] = [];
  let closed = false;

  function linkOf(kept: Kept): RunnerLink {
    const { inner } = kept;
    return {
      moves: inner.moves,
      ...(inner.shared ? { shared: inner.shared } : {}),
      send: (message, transfer) => inner.send(message, transfer),
      hold: (held) => inner.hold(held),
      ...(inner.kill ? { kill: inner.kill.bind(inner) } : {}),
      async end() {
        if (kept.dead || closed || idle.length >= most) {
          await inner.end();
          return;
        }
        kept.events = noListener;
        idle.push(kept);
      },
    };
  }

  return {
    open(events) {
      const again = idle.pop();
      if (again) {
        again.events = events;
        return linkOf(again);
      }
      const inner = start({
        received: (message) => kept.events.received(message),
        ended: (why) => {
          kept.dead = true;
          const at = idle.indexOf(kept);
          if (at >= 0) idle.splice(at, 1);
          kept.events.ended(why);
        },
      });
      const kept: Kept = { inner, events, dead: false };
      return linkOf(kept);
    },
    async close() {
      closed = true;
      await Promise.all(idle.splice(0).map(({ inner }) => inner.end()));
    },
  };
}

const noListener: Parameters<OpenLink>[0] = { received: () => undefined, ended: () => undefined };
