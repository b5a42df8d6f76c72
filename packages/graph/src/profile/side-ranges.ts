import { numericView, type Tensors, type ValueRange } from "@longshore/core";
import { isSideTensor } from "@longshore/core/internal";

/** The range of each side tensor over some crossings of one cut, by name; undefined where there are none. */
export function sideRanges(crossings: readonly Tensors[]): Readonly<Record<string, ValueRange>> | undefined {
  const ranges = new Map<string, ValueRange>();
  for (const crossing of crossings) {
    for (const [name, tensor] of crossing) {
      if (!isSideTensor(tensor.spec)) continue;
      for (const value of numericView(tensor)) {
        const { least, most } = ranges.get(name) ?? { least: Infinity, most: -Infinity };
        ranges.set(name, { least: Math.min(least, Number(value)), most: Math.max(most, Number(value)) });
      }
    }
  }
  return ranges.size > 0 ? Object.fromEntries(ranges) : undefined;
}
