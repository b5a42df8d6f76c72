import type { OpenLink, RunnerLink } from "./runner-link.ts";

/** Runners that are kept for the next session when theirs is released. */
export interface ReusedLinks {
  /** Takes a runner that is kept, or starts one. */
  readonly open: OpenLink;
  /** Ends those that are kept; from then on none is. */
  close(): Promise<void>;
}

/** A link with whoever listens to it now. */
interface Kept {
  readonly inner: RunnerLink;
  events: Parameters<OpenLink>[0];
  dead: boolean;
}

/**
 * Keeps up to `most` runners whose session was released. A thread that ends leaves what its memory allocator had taken to
 * nobody in particular, so a server that loads and unloads all day would grow with each thread; the same few threads use
 * the same memory again. Loading is quicker, too. One that died is not kept.
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
        kept.events = unheard;
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

const unheard: Parameters<OpenLink>[0] = { received: () => undefined, ended: () => undefined };
