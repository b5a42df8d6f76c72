import { expect, it } from "vitest";
import { LongshoreError, seededRandom } from "@longshore/core";
import { manualClock } from "@longshore/testkit";
import { type ListQuery, Expired, type KubernetesApi, type ListPage } from "./api.ts";
import { reflect } from "./reflect.ts";

type ListReply = (asked: ListQuery) => ListPage;

const page = (names: readonly string[], next?: string): ListPage => ({
  items: names.map((name) => ({ metadata: { name, namespace: "shop" } })),
  resourceVersion: "7",
  next,
});

/** A copy of a collection whose replies are given; watches stay silent, or are forgotten at once. */
function copy(replies: ListReply[], forgets = false) {
  const clock = manualClock();
  const events: string[] = [];
  const queries: ListQuery["query"][] = [];
  let watches = 0;
  const api: KubernetesApi = {
    name: "test",
    async list(asked) {
      queries.push(asked.query);
      return (replies.length > 1 ? replies.shift()! : replies[0]!)(asked);
    },
    watch(_asked, signal) {
      watches++;
      if (forgets) return Promise.reject(new Expired("too old"));
      return new Promise((_resolve, reject) => {
        signal.addEventListener("abort", () => reject(new Error("aborted")), { once: true });
      });
    },
  };
  const copying = reflect<string>({
    api,
    clock,
    random: seededRandom(1),
    path: "/pods",
    query: {},
    project: ({ metadata }) => metadata?.name,
    sink: {
      all: (objects) => events.push(`all ${[...objects.values()].join()}`),
      put: (key) => events.push(`put ${key}`),
      drop: (key) => events.push(`drop ${key}`),
      confirmed: () => events.push("confirmed"),
      failed: ({ reason }) => events.push(reason),
    },
  });
  return { clock, copying, events, queries, watched: () => watches };
}

it("lists again from the start when a page expires, and without pages when that goes on", async () => {
  const expired: ListReply = () => {
    throw new Expired("too old");
  };
  const { clock, copying, events, queries } = copy([
    () => page(["a"], "next"),
    expired,
    () => page(["b"], "next"),
    expired,
    () => page(["c"], "next"),
    expired,
    () => page(["d"]),
  ]);
  await clock.advance(1000);
  expect(events).toEqual(["all d"]);
  expect(queries.at(-1)).toEqual({});
  await copying[Symbol.asyncDispose]();
});

it("pauses longer after each failure, and cuts a watch that is silent", async () => {
  const denied: ListReply = () => {
    throw new LongshoreError("not-permitted", "resolve", "denied");
  };
  const { clock, copying, events, queries, watched } = copy([denied]);
  await clock.advance(60_000);
  // 0.25 s, 0.5 s, 1 s, ... half of each random.
  expect(queries.length).toBeGreaterThan(6);
  expect(queries.length).toBeLessThan(16);
  expect(new Set(events)).toEqual(new Set(["not-permitted"]));
  await copying[Symbol.asyncDispose]();

  const silent = copy([() => page(["a"])]);
  await silent.clock.advance(1000);
  expect([silent.events, silent.watched()]).toEqual([["all a"], 1]);
  await silent.clock.advance(149_500);
  expect(silent.events).toEqual(["all a", "no-answer"]);
  await silent.clock.advance(1000);
  expect(silent.watched()).toBe(2);
  await silent.copying[Symbol.asyncDispose]();
  expect(watched()).toBe(0);
});

it("pauses before it lists again where every watch is forgotten at once", async () => {
  const { clock, copying, events, queries } = copy([() => page(["a"])], true);
  await clock.advance(60_000);
  expect(queries.length).toBeGreaterThan(6);
  expect(queries.length).toBeLessThan(16);
  expect(new Set(events)).toEqual(new Set(["all a"]));
  await copying[Symbol.asyncDispose]();
});
