import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Call, housekeepingCall, LongshoreError } from "../../words/base/index.ts";
import { callFromHeaders, callHeaders, traceFromHeaders } from "./call-headers.ts";

const base: Call = housekeepingCall("test");

function reasonOf(headers: Readonly<Record<string, string>>): string {
  try {
    callFromHeaders(headers, base, 0);
    return "accepted";
  } catch (thrown) {
    if (!LongshoreError.is(thrown)) throw thrown;
    return thrown.reason;
  }
}

describe("call headers", () => {
  it("bring a call to an endpoint with another clock", () => {
    const call: Call = {
      ...base,
      deadlineMs: 1250.5,
      tenant: "shop",
      rules: { dataClass: "customer; faces", leastTrust: "operated", zones: ["eu/de", "eu,west"] },
      path: ["till-3", "edge, back room"],
      trace: { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7", sampled: true },
      goal: "cost;in-time=0.99",
      idempotencyKey: "käse",
      mostWaitMs: 12.5,
    };
    const headers = callHeaders(call, 1000);
    expect(Object.values(headers).every((value) => /^[\x20-\x7e]*$/.test(value))).toBe(true);
    const there = callFromHeaders(headers, base, 50_000);
    expect(there).toEqual({ ...call, deadlineMs: 50_250.5, tenant: "local" });
  });

  it("never take the tenant from the sender, and never a later deadline than the endpoint allows", () => {
    const there = callFromHeaders({ "longshore-tenant": "other", "longshore-deadline": "99999" }, { ...base, deadlineMs: 10 }, 0); // prettier-ignore
    expect(there.tenant).toBe("local");
    expect(there.deadlineMs).toBe(10);
  });

  it("a longest wait is a number, of this endpoint alone", () => {
    for (const text of ["", "-1", "Infinity", "1e3", "12,5", "9".repeat(16)])
      expect(reasonOf({ "longshore-most-wait": text })).toBe("invalid-input");
    expect(callFromHeaders({ "longshore-most-wait": "0" }, base, 0).mostWaitMs).toBe(0);
    expect(callFromHeaders({}, base, 0)).not.toHaveProperty("mostWaitMs");
  });

  it("an empty list of zones allows none; an absent one leaves the zones open", () => {
    const closed = { ...base, rules: { ...base.rules, zones: [] } };
    expect(callFromHeaders(callHeaders(closed, 0), base, 0).rules.zones).toEqual([]);
    expect(callFromHeaders(callHeaders(base, 0), base, 0).rules).toEqual(base.rules);
    const confirmed = { ...base, rules: { ...base.rules, confirm: true as const } };
    expect(callFromHeaders(callHeaders(confirmed, 0), base, 0).rules).toEqual(confirmed.rules);
    // Confirmation demanded of requests without rules is demanded of those with rules, too.
    expect(callFromHeaders(callHeaders(base, 0), confirmed, 0).rules.confirm).toBe(true);
  });

  it("rules that are not known here deny the request", () => {
    expect(reasonOf({ "longshore-rules": "class=a;trust=operated;retention=0" })).toBe("policy-denied");
    expect(reasonOf({ "longshore-rules": "trust=total" })).toBe("policy-denied");
    expect(reasonOf({ "longshore-rules": "" })).toBe("policy-denied");
    expect(reasonOf({ "longshore-rules": "class=a;confirm=false" })).toBe("policy-denied");
    expect(reasonOf({ "longshore-rules": "class=a, class=b" })).toBe("accepted");
    expect(reasonOf({ "longshore-rules": "class=a;trust=none, class=b" })).toBe("policy-denied");
  });

  it("a deadline that has passed is past, one that is no number is invalid", () => {
    expect(reasonOf({ "longshore-deadline": "0" })).toBe("deadline-past");
    expect(reasonOf({ "longshore-deadline": "-12.5" })).toBe("deadline-past");
    // As Python writes 0.1 + 0.2, and more decimals than a number keeps.
    for (const value of ["0.30000000000000004", `12.${"3".repeat(60)}`]) {
      expect(reasonOf({ "longshore-deadline": value }), value).toBe("accepted");
      expect(reasonOf({ "longshore-most-wait": value }), value).toBe("accepted");
    }
    for (const value of ["", "soon", "Infinity", "1e3", "0x10", "1".repeat(20)]) {
      expect(reasonOf({ "longshore-deadline": value }), value).toBe("invalid-input");
    }
  });

  it("paths have an end, and words that decode", () => {
    expect(reasonOf({ "longshore-path": Array(17).fill("a").join(",") })).toBe("invalid-input");
    expect(reasonOf({ "longshore-path": "%zz" })).toBe("invalid-input");
  });

  it("an invalid trace context is ignored, as W3C demands", () => {
    for (const traceparent of ["x", `00-${"0".repeat(32)}-00f067aa0ba902b7-01`, "01-aa-bb-00"]) {
      expect(callFromHeaders({ traceparent }, base, 0).trace).toBeUndefined();
    }
  });

  it("a trace context of a later version is read as far as it is known, and its state goes along unread", () => {
    const [trace, span] = ["4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"];
    const read = (traceparent: string, tracestate?: string): unknown =>
      traceFromHeaders({ traceparent, ...(tracestate === undefined ? {} : { tracestate }) });
    expect(read(`00-${trace}-${span}-03`)).toEqual({ traceId: trace, spanId: span, sampled: true });
    expect(read(`01-${trace}-${span}-00-more`)).toEqual({ traceId: trace, spanId: span, sampled: false });
    expect(read(`00-${trace}-${span}-01-more`)).toBeUndefined();
    expect(read(`ff-${trace}-${span}-01`)).toBeUndefined();
    const state = "vendor=opaque,other=1";
    const carried = callFromHeaders({ traceparent: `00-${trace}-${span}-01`, tracestate: state }, base, 0);
    expect(callHeaders(carried, 0)).toMatchObject({
      traceparent: `00-${trace}-${span}-01`,
      tracestate: state,
    });
    expect(read(`00-${trace}-${span}-01`, "x".repeat(513))).not.toHaveProperty("state");
    expect(read(`00-${trace}-${span}-01`, "a\r\nb")).not.toHaveProperty("state");
  });

  it("keys that are too long are refused, since two of them cut short could be one", () => {
    expect(reasonOf({ "idempotency-key": "k".repeat(512) })).toBe("accepted");
    expect(reasonOf({ "idempotency-key": "k".repeat(513) })).toBe("invalid-input");
  });

  it("for any headers, the result is a call or a LongshoreError", () => {
    const value = fc.oneof(fc.string(), fc.stringMatching(/^[a-z=;,%0-9]{0,30}$/));
    fc.assert(
      fc.property(value, value, value, value, (rules, deadline, path, key) => {
        reasonOf({
          "longshore-rules": rules,
          "longshore-deadline": deadline,
          "longshore-path": path,
          "idempotency-key": key,
        });
      }),
      { seed: 11 },
    );
  });
});
