import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { LongshoreError, seededRandom } from "@longshore/core";
import { virtualClock } from "@longshore/lab";
import { createEngine } from "@longshore/engine";
import { memoryEngineParts, memoryStore } from "@longshore/testkit";
import { openPull } from "./pull.ts";

it("looks that are asked for at once are one, and the next is made no sooner than a second after it", async () => {
  const into = mkdtempSync(join(tmpdir(), "longshore-pull-"));
  const clock = virtualClock();
  let asked = 0;
  const pull = openPull(
    {
      from: "nowhere",
      into,
      asNeeded: true,
      source: {
        name: "nowhere",
        manifest: () => (asked++, Promise.reject(new LongshoreError("unknown-model", "resolve", "not yet"))),
        file: () => Promise.reject(new Error("nothing was listed")),
      },
    },
    { clock, random: seededRandom(1), report: () => undefined, changed: () => undefined },
  );
  const engine = createEngine(memoryEngineParts({ clock, models: {}, store: memoryStore({}) }));
  await pull.want([{ model: "toy" }], engine);
  expect(asked).toBe(1);
  await Promise.all([pull.look(), pull.look(), pull.look()]);
  expect(asked).toBe(2);
  await clock.advance(999);
  await pull.look();
  expect(asked).toBe(2);
  await clock.advance(1);
  await pull.look();
  expect(asked).toBe(3);
  await pull.close();
  await engine.close();
  rmSync(into, { recursive: true });
});
