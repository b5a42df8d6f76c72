import { doubleDescription, doubleEndpoint, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { LongshoreError, type Reason, seededRandom, silentObserver } from "../../words/base/index.ts";
import { certain } from "../../words/estimate/index.ts";
import type { Link } from "../../wire/transport/index.ts";
import { disowned } from "./disowned.ts";
import { deviceSpeed } from "../../decide/estimate/index.ts";
import { knowModel } from "../models/index.ts";
import { nothingKnown } from "../knowledge/index.ts";
import { followEndpoints } from "./endpoint-states.ts";

/** The knowledge that a device has of one other endpoint. */
function endpointsWith(id: string, link?: Link) {
  const parts = {
    endpoints: [doubleEndpoint([], { id })],
    clock: manualClock(),
    random: seededRandom(1),
    observer: silentObserver,
    links: () => link,
  };
  const endpoints = followEndpoints(parts, "device");
  return { endpoints, endpoint: endpoints.all.get(id)! };
}

const ran = { model: "find", version: "1", digest: "sha256:1" };

it.each(["queue-full", "runtime-crashed", "internal"] as const)(
  "holds %s against who failed, and not against the endpoint that was asked where that is another",
  (reason: Reason) => {
    const { endpoints, endpoint: endpointState } = endpointsWith("there");
    const failed = (endpoint?: string): void => {
      const error = new LongshoreError(
        reason,
        "execute",
        "made up",
        endpoint === undefined ? {} : { endpoint },
      );
      endpoints.runs.failed(endpointState, ran, error, 0, 0, "acme");
    };
    failed("device");
    expect([endpointState.health.unavailable(1), endpoints.runs.pausedUntilMs(endpointState, ran)]).toEqual([
      undefined,
      -Infinity,
    ]);
    failed();
    expect(endpoints.runs.pausedUntilMs(endpointState, ran)).toBeGreaterThan(1);
  },
);

it("takes no model away from an endpoint for what another one says that it has not", () => {
  const missing = (options = {}): LongshoreError =>
    new LongshoreError("unknown-version", "resolve", "made up", options);
  expect(disowned(missing(), false)).toBe(true);
  expect(disowned(missing({ endpoint: "device" }), true)).toBe(false);
});

it("pauses a gateway that knows its callers no longer when the gateway itself is refused everywhere", () => {
  const { endpoints, endpoint: endpointState } = endpointsWith("gateway");
  const refused = new LongshoreError("unauthenticated", "identify", "made up");
  const failures = new Map([["behind", refused]]);
  const polled = { model: "find", version: undefined, reports: new Map(), failures };
  const membership = { mayGrow: false, settling: false };
  const told = nothingKnown(polled, { membership, all: new Map([["behind", {}]]) }, ["device"], true);
  expect(told.reason).toBe("unauthenticated");
  endpoints.runs.failed(endpointState, undefined, told, 0, 0);
  expect(endpointState.health.unavailable(1)).toBeUndefined();
  endpoints.runs.failed(endpointState, undefined, refused, 0, 0);
  expect(endpointState.health.unavailable(1)).toContain("unauthenticated");
});

it("has decisions read what is believed of the way to an endpoint that has said something for the first time", () => {
  let tookMs = 60;
  const link: Link = { transferMs: () => certain(tookMs), roundTripMs: () => certain(2 * tookMs) };
  const { endpoints, endpoint: endpointState } = endpointsWith("there", link);
  const knowledge = { description: doubleDescription({ name: ran.model, digest: ran.digest }) };
  const report = { endpoint: doubleEndpoint([]), knowledge, offers: [] };
  const known = knowModel(undefined, [report], undefined, deviceSpeed(), 0)!;
  expect(endpoints.tables.all(known, "local", 0).up[0]).toBe(60);
  tookMs = 1;
  endpointState.reports.offers([], 5, true);
  endpoints.tables.touched();
  expect(endpoints.tables.all(known, "local", 5).up[0]).toBe(1);
});
