import { describe, expect, it } from "vitest";
import { LongshoreError } from "@longshore/core";
import { reusedLinks } from "./reused-links.ts";
import type { OpenLink, RunnerLink } from "./runner-link.ts";

/** Links that tell what became of them. */
function doubles() {
  const all: { readonly events: Parameters<OpenLink>[0]; sent: string[]; ended: boolean }[] = [];
  const start: OpenLink = (events): RunnerLink => {
    const one = { events, sent: [] as string[], ended: false };
    all.push(one);
    return {
      moves: true,
      send: ({ kind }) => void one.sent.push(kind),
      hold: () => undefined,
      async end() {
        one.ended = true;
      },
    };
  };
  return { start, all };
}

/** A listener of a link, by name. */
function listener(heard: string[], name: string): Parameters<OpenLink>[0] {
  return {
    received: ({ kind }) => void heard.push(`${name} ${kind}`),
    ended: ({ reason }) => void heard.push(`${name} ${reason}`),
  };
}

describe("runners whose session was released", () => {
  it("serve the next session, which alone hears of them", async () => {
    const { start, all } = doubles();
    const heard: string[] = [];
    const { open } = reusedLinks(start, 1);
    const first = open(listener(heard, "first"));
    await first.end();
    const second = open(listener(heard, "second"));
    second.send({ kind: "release" }, []);
    all[0]?.events.received({ kind: "released" });
    expect(all).toMatchObject([{ sent: ["release"], ended: false }]);
    expect(heard).toEqual(["second released"]);
  });

  it("are kept up to a number, and ended with the runtime", async () => {
    const { start, all } = doubles();
    const { open, close } = reusedLinks(start, 1);
    const [one, other] = [open(listener([], "one")), open(listener([], "other"))];
    await one.end();
    await other.end();
    expect(all.map(({ ended }) => ended)).toEqual([false, true]);
    const late = open(listener([], "late"));
    await close();
    await late.end();
    expect(all.map(({ ended }) => ended)).toEqual([true, true]);
  });

  it("are not used again once they have died, while they served or while they waited", async () => {
    const { start, all } = doubles();
    const heard: string[] = [];
    const { open } = reusedLinks(start, 2);
    const died = new LongshoreError("runtime-crashed", "execute", "planted");
    const serving = open(listener(heard, "serving"));
    all[0]?.events.ended(died);
    await serving.end();
    const waiting = open(listener(heard, "waiting"));
    await waiting.end();
    all[1]?.events.ended(died);
    open(listener(heard, "third"));
    expect(all).toHaveLength(3);
    expect(heard).toEqual(["serving runtime-crashed"]);
  });
});
