import { describe, expect, it } from "vitest";
import { housekeepingCall } from "../../words/base/index.ts";
import type { Leg } from "./plan.ts";
import { legKey } from "./leg-key.ts";

const leg = (from: string, codecs: Leg["codecs"] = {}): Parameters<typeof legKey>[1] => ({
  segment: { model: "m", version: "1", digest: "", variant: "base", from, to: "end" },
  codecs,
  state: "none",
});
const call = (key: string) => ({ ...housekeepingCall("id"), idempotencyKey: key });

describe("keys of legs", () => {
  it("tell parts and codings of one request apart, and are the same for the same leg", () => {
    const keys = [leg("start"), leg("c1"), leg("start", { x: "jpeg-75" }), leg("start", { x: "raw" })].map(
      (one) => legKey(call("k"), one),
    );
    expect(new Set(keys).size).toBe(keys.length);
    expect(legKey(call("k"), leg("start"))).toBe(keys[0]);
    expect(legKey(housekeepingCall("k"), leg("start"))).toBe(keys[0]);
  });

  it("tell tenants apart", () => {
    const of = (tenant: string, key: string): string => legKey({ ...call(key), tenant }, leg("start"));
    const keys = [of("acme", "k"), of("beta", "k"), of("beta", "acme~k"), of("acme", "beta~k")];
    expect(new Set(keys).size).toBe(keys.length);
  });

  it("are no longer in a header than a key may be, however it is written", () => {
    for (const key of ["\u{1f600}".repeat(42), " ".repeat(170), "%".repeat(500)]) {
      let sent = key;
      for (let hop = 0; hop < 16; hop++)
        sent = legKey({ ...call(sent), tenant: "t".repeat(64) }, leg("start"));
      expect(encodeURIComponent(sent).length).toBeLessThan(400);
    }
  });

  it("are made of whatever an app calls itself and its request", () => {
    for (const text of ["t".repeat(600), "\ud800", "\u{1f600}".repeat(200)]) {
      for (const asked of [call(text), { ...call("k"), tenant: text }])
        expect(encodeURIComponent(legKey(asked, leg("start"))).length).toBeLessThan(400);
    }
  });

  it("tell versions apart, of which one may stand in for another at the same endpoint", () => {
    const { segment, ...rest } = leg("start");
    const of = (change: object): string => legKey(call("k"), { ...rest, segment: { ...segment, ...change } });
    expect(new Set([of({}), of({ version: "2" }), of({ digest: "sha256:2" })]).size).toBe(3);
  });

  it("stay short over many endpoints, and stay apart when they are shortened", () => {
    const forwarded = (key: string): string => legKey(call(key), leg("start"));
    let [one, other] = [`a${"x".repeat(400)}`, `b${"x".repeat(400)}`];
    for (let hop = 0; hop < 16; hop++) [one, other] = [forwarded(one), forwarded(other)];
    expect(one.length).toBeLessThan(300);
    expect(one).not.toBe(other);
  });
});
