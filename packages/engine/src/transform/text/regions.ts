import type { Point } from "../../geometry/index.ts";

/**
 * Connected regions of a binary map, 8 neighbours. Works on runs of set pixels and joins those that touch across rows
 * (union-find), so the cost is one pass over the map and the memory goes with the runs. For each region the ends of its
 * runs come back: all that a convex hull needs.
 */
export function regions(
  map: Float32Array,
  height: number,
  width: number,
  above: number,
): readonly (readonly Point[])[] {
  const rows: number[] = [];
  const starts: number[] = [];
  const ends: number[] = [];
  const parent: number[] = [];
  const root = (run: number): number => {
    let at = run;
    while (parent[at] !== at) {
      parent[at] = parent[parent[at] as number] as number;
      at = parent[at] as number;
    }
    return at;
  };
  let previous = 0;
  for (let y = 0; y < height; y++) {
    const rowBegin = starts.length;
    const base = y * width;
    for (let x = 0; x < width; x++) {
      if (!((map[base + x] as number) > above)) continue;
      const start = x;
      while (x < width && (map[base + x] as number) > above) x++;
      rows.push(y);
      starts.push(start);
      ends.push(x - 1);
      parent.push(parent.length);
    }
    let upper = previous;
    for (let run = rowBegin; run < starts.length; run++) {
      const [start = 0, end = 0] = [starts[run], ends[run]];
      while (upper < rowBegin && (ends[upper] as number) < start - 1) upper++;
      for (let other = upper; other < rowBegin && (starts[other] as number) <= end + 1; other++) {
        const [a, b] = [root(other), root(run)];
        parent[Math.max(a, b)] = Math.min(a, b);
      }
    }
    previous = rowBegin;
  }
  const found = new Map<number, Point[]>();
  for (let run = 0; run < starts.length; run++) {
    const key = root(run);
    const points = found.get(key) ?? [];
    const y = rows[run] as number;
    points.push({ x: starts[run] as number, y });
    if (ends[run] !== starts[run]) points.push({ x: ends[run] as number, y });
    found.set(key, points);
  }
  return [...found.values()];
}

/** Mean of the map over the pixels whose centres lie inside a convex polygon or on its edge; 0 when there are none. */
export function meanInside(
  map: Float32Array,
  height: number,
  width: number,
  polygon: readonly Point[],
): number {
  const slack = 1e-6;
  const top = Math.max(Math.ceil(Math.min(...polygon.map(({ y }) => y)) - slack), 0);
  const bottom = Math.min(Math.floor(Math.max(...polygon.map(({ y }) => y)) + slack), height - 1);
  let sum = 0;
  let count = 0;
  for (let y = top; y <= bottom; y++) {
    let left = Infinity;
    let right = -Infinity;
    for (const [index, a] of polygon.entries()) {
      const b = polygon[(index + 1) % polygon.length] ?? a;
      if (y < Math.min(a.y, b.y) - slack || y > Math.max(a.y, b.y) + slack) continue;
      const flat = Math.abs(a.y - b.y) < slack;
      const share = flat ? 0 : Math.min(Math.max((y - a.y) / (b.y - a.y), 0), 1);
      const x = a.x + share * (b.x - a.x);
      left = Math.min(left, x, flat ? b.x : x);
      right = Math.max(right, x, flat ? b.x : x);
    }
    const from = Math.max(Math.ceil(left - slack), 0);
    const to = Math.min(Math.floor(right + slack), width - 1);
    for (let x = from; x <= to; x++) sum += map[y * width + x] as number;
    count += Math.max(to - from + 1, 0);
  }
  return count === 0 ? 0 : sum / count;
}
