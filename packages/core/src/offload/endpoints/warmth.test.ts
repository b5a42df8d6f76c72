import { doubleDescription, doubleEndpoint, doubleOffer, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { LongshoreError, silentObserver } from "../../words/base/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import type { Segment } from "../../words/model/index.ts";
import type { EndpointState } from "./endpoint-state.ts";
import { warmth } from "./warmth.ts";

const part: Segment = {
  model: "double",
  version: "1",
  digest: "",
  variant: "default",
  from: "start",
  to: "end",
};

it("does not wait for ever for an endpoint that never reports the load of a part", async () => {
  const clock = manualClock();
  const double = doubleEndpoint([]);
  const local: Endpoint = {
    ...double,
    info: double.info,
    capabilities: {
      ...double.capabilities,
      loaded: () => false,
      prepare: (_segment, call) =>
        new Promise((_resolve, reject) => {
          clock.timer(call.deadlineMs - clock.nowMs(), () => reject(new Error("too late")));
        }),
    },
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

it("does not take for loaded what this device has let go, and has it loaded again", async () => {
  const clock = manualClock();
  const double = doubleEndpoint([]);
  const held = new Set<string>();
  const asked: string[] = [];
  const local: Endpoint = {
    ...double,
    info: double.info,
    capabilities: {
      ...double.capabilities,
      loaded: ({ to }) => held.has(to),
      prepare: async ({ to }) => {
        asked.push(to);
        held.add(to);
      },
    },
  };
  const { id } = local.info;
  const warm = warmth(local, { all: new Map() }, "device", { clock, observer: silentObserver });
  const head = { ...part, to: "c1" };
  for (const one of [part, head]) {
    held.add(one.to);
    warm.ran(id, one);
  }
  const known = (): readonly unknown[] => [warm.loaded?.(id, head), warm.ready(id, head)];
  expect(known()).toEqual([true, true]);
  warm.prepare(id, head, "local");
  expect(asked).toEqual([]);
  held.delete("c1");
  expect(known()).toEqual([false, false]);
  warm.prepare(id, head, "local");
  await clock.advance(1);
  expect([asked, known()]).toEqual([["c1"], [true, true]]);
  // Where the whole has to be loaded as well, the head is no worse.
  held.clear();
  expect(known()).toEqual([true, false]);
  warm[Symbol.dispose]();
});

it("counts the load that a server told of until it ran there, if the server cannot load in advance", async () => {
  const clock = manualClock();
  const double = doubleEndpoint([], { id: "server" });
  const endpoint: Endpoint = {
    ...double,
    info: double.info,
    capabilities: {
      prepare: () =>
        Promise.reject(new LongshoreError("unsupported", "resolve", "it loads at its first run")),
    },
  };
  const offer = { ...doubleOffer(doubleDescription({ name: "double" }), double.info, 5), loadMs: 600 };
  // Of the state, only the endpoint is read.
  const all = new Map([["server", { endpoint } as EndpointState]]);
  const warm = warmth(undefined, { all }, "device", { clock, observer: silentObserver });
  expect(warm.waitMs("server", part, offer)).toBe(600);
  warm.prepare("server", part, "local");
  await clock.advance(1);
  expect(warm.waitMs("server", part, offer)).toBe(600);
  warm.ran("server", part);
  await clock.advance(1);
  expect(warm.waitMs("server", part, offer)).toBe(0);
  warm[Symbol.dispose]();
});
