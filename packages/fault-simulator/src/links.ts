import type { VirtualClock } from "@longshore/lab";
import { drawWhole, randomFor } from "./seeds.ts";

/** After a partition heals, TCP takes about this long to send again, in milliseconds. */
const retransmitMs = 200;

interface Link {
  readonly delayMs: number;
  readonly bytesPerMs: number;
  freeAtMs: number;
}

/** The links between machines: each pair has a delay and a rate, and bytes of one way follow each other. */
export interface Links {
  /** Calls `arrived` when bytes that leave now are there; returns how long their sender is busy with them. */
  carry(this: void, from: string, to: string, bytes: number, arrived: () => void): number;
  /** Bytes held back while machines were cut off go on where they are connected again. */
  mended(this: void): void;
}

/** Links whose delays and rates are drawn when they are first used. */
export function simulatedLinks(
  world: VirtualClock,
  seed: number,
  cut: (from: string, to: string) => boolean,
): Links {
  const links = new Map<string, Link>();
  const held = new Set<() => void>();

  function linkOf(from: string, to: string): Link {
    const name = `${from}>${to}`;
    const known = links.get(name);
    if (known) return known;
    // Both ways are alike.
    const random = randomFor(seed, `link ${[from, to].sort().join("-")}`);
    const link: Link = {
      delayMs: drawWhole(random, 2, 30) / 2,
      bytesPerMs: drawWhole(random, 500, 12_500),
      freeAtMs: 0,
    };
    links.set(name, link);
    return link;
  }

  function carry(from: string, to: string, bytes: number, arrived: () => void): number {
    const link = linkOf(from, to);
    const nowMs = world.nowMs();
    link.freeAtMs = Math.max(nowMs, link.freeAtMs) + bytes / link.bytesPerMs;
    const sentInMs = link.freeAtMs - nowMs;
    const pass = (): void => {
      if (!cut(from, to)) arrived();
      else held.add(() => void world.timer(retransmitMs, pass));
    };
    world.timer(sentInMs + link.delayMs, pass);
    return sentInMs;
  }

  return {
    carry,
    mended() {
      const all = [...held];
      held.clear();
      for (const again of all) again();
    },
  };
}
