import { describe, expect, it } from "vitest";
import { type LongshoreEvent, observers, silentObserver } from "./events.ts";

describe("observers", () => {
  const event: LongshoreEvent = { kind: "request-accepted", atMs: 1, callId: "c", model: "m" };
  const listener = (): { record(event: LongshoreEvent): void; readonly heard: LongshoreEvent[] } => {
    const heard: LongshoreEvent[] = [];
    return { heard, record: (one) => void heard.push(one) };
  };

  it("calls each, and adds no layer for a single one", () => {
    const [one, other] = [listener(), listener()];
    observers(one, silentObserver, other).record(event);
    expect([one.heard, other.heard]).toEqual([[event], [event]]);
    expect(observers(silentObserver, one)).toBe(one);
    expect(observers(silentObserver)).toBe(silentObserver);
  });
});
