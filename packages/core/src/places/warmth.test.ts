import { doubleEndpoint, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { silentObserver } from "../base/index.ts";
import type { Endpoint } from "../endpoint/index.ts";
import type { Segment } from "../model/index.ts";
import { warmth } from "./warmth.ts";

it("does not wait for ever for a place that was asked to load a part and says nothing more", async () => {
  const clock = manualClock();
  const double = doubleEndpoint([]);
  const local: Endpoint = {
    ...double,
    info: double.info,
    prepare: (_segment, call) =>
      new Promise((_resolve, reject) => {
        clock.timer(call.deadlineMs - clock.nowMs(), () => reject(new Error("too late")));
      }),
  };
  const part: Segment = {
    model: "double",
    version: "1",
    digest: "",
    variant: "default",
    from: "start",
    to: "end",
  };
  const { id } = local.info;
  const warm = warmth(local, { all: new Map() }, "device", { clock, observer: silentObserver });
  warm.prepare(id, part, "local");
  await clock.advance(60_000);
  expect(warm.ready(id, part)).toBe(false);
  await clock.advance(600_000);
  expect(warm.ready(id, part)).toBe(true);
  warm[Symbol.dispose]();
});
