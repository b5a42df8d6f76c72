import * as fc from "fast-check";
import { expect, it } from "vitest";
import { PassingMap } from "./passing-map.ts";

it("keeps the same entries as a map, however often its keys come and go", () => {
  const steps = fc.array(fc.tuple(fc.nat(12), fc.boolean()), { minLength: 200, maxLength: 400 });
  fc.assert(
    fc.property(steps, (all) => {
      const passing = new PassingMap<number, string>();
      const map = new Map<number, string>();
      for (const [at, [key, goes]] of all.entries()) {
        if (goes) expect(passing.delete(key)).toBe(map.delete(key));
        else {
          passing.set(key, `${at}`);
          map.set(key, `${at}`);
        }
        expect([passing.size, passing.get(key)]).toEqual([map.size, map.get(key)]);
      }
      expect(new Map(passing.entries())).toEqual(map);
    }),
    { numRuns: 20 },
  );
});
