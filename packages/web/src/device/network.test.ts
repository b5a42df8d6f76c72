import { describe, expect, it } from "vitest";
import { linkBelief, linkModel } from "@longshore/core";
import { meanOf } from "@longshore/core/internal";
import { followNetwork, linkHint, type NetworkConnection } from "./network.ts";

/** A browser's connection that a test changes. */
class FakeConnection extends EventTarget implements NetworkConnection {
  type?: string;
  effectiveType?: string;
  downlink?: number;
  rtt?: number;

  constructor(says: Partial<NetworkConnection>) {
    super();
    Object.assign(this, says);
  }

  change(says: Partial<NetworkConnection>): void {
    Object.assign(this, says);
    this.dispatchEvent(new Event("change"));
  }
}

const hintOf = (connection: NetworkConnection) => linkHint({ connection });

describe("linkHint", () => {
  it("reports the browser's facts, and nothing without any or offline", () => {
    expect(hintOf({ type: "cellular", effectiveType: "3g", downlink: 1.45, rtt: 300 })).toEqual({
      kind: "cellular",
      downBitsPerSecond: 1_450_000,
      roundTripMs: 300,
    });
    expect(linkHint({})).toBeUndefined();
    expect(hintOf({ type: "none", downlink: 1.5 })).toBeUndefined();
    expect(linkHint({ onLine: false, connection: { downlink: 1.5 } })).toBeUndefined();
    expect(hintOf({ effectiveType: "4g", downlink: 0, rtt: 0 })).toBeUndefined();
    expect(hintOf({ type: "wifi" })).toEqual({ kind: "wifi" });
  });

  it("takes the rate at which the browser stops counting for the least, and a round trip of 0 for a short one", () => {
    expect(hintOf({ effectiveType: "4g", downlink: 10, rtt: 0 })).toEqual({
      downBitsPerSecond: 10e6,
      atLeast: true,
      roundTripMs: 10,
    });
  });

  it("reads the class of the connection if it has no figures", () => {
    expect(hintOf({ effectiveType: "2g" })).toEqual({ downBitsPerSecond: 70_000, roundTripMs: 1400 });
    expect(hintOf({ effectiveType: "4g" })).toEqual({});
  });
});

const model = linkModel();

describe("followNetwork", () => {
  /** A link that carried 400 kB at 40 Mbit/s, and the expected time of as many bytes again. */
  function used(connection: FakeConnection) {
    const link = linkBelief({ model });
    const following = followNetwork([link], { connection });
    const note = link.sendStarted(400_000, "up", 0);
    for (let part = 1; part <= 20; part++) note.progressed(part * 20_000, 20 + part * 4);
    note.ended(100, true);
    const expectedMs = (): number => meanOf(link.transferMs(400_000, "up", 200));
    return { link, following, expectedMs };
  }

  it("keeps measurements while the network is the same", () => {
    const connection = new FakeConnection({ type: "wifi", downlink: 10, rtt: 25 });
    const { expectedMs, link } = used(connection);
    const beforeMs = expectedMs();
    connection.change({ downlink: 0.5 });
    expect(expectedMs()).toBe(beforeMs);
    expect(link.transferMs(1, "up", 200).origin).toBe("measured");
  });

  it("forgets measurements over another network, and begins at the hint of the new one", () => {
    const connection = new FakeConnection({ type: "wifi", downlink: 10, rtt: 25 });
    const { expectedMs, link } = used(connection);
    const beforeMs = expectedMs();
    connection.change({ type: "cellular", downlink: 0.5, rtt: 300 });
    expect(link.transferMs(1, "up", 200).origin).toBe("prior");
    expect(expectedMs()).toBeGreaterThan(20 * beforeMs);
  });

  it("keeps them through a short time without any network, and informs all links however they were given", () => {
    const connection = new FakeConnection({ type: "wifi", downlink: 10, rtt: 25 });
    const { link } = used(connection);
    connection.change({ type: "none", downlink: 0 });
    connection.change({ type: "wifi", downlink: 10 });
    expect(link.transferMs(1, "up", 200).origin).toBe("measured");
    const told: (boolean | undefined)[] = [];
    const links = new Map([["a", { hinted: (_hint: unknown, other?: boolean) => told.push(other) }]]);
    using _ = followNetwork(links.values(), { connection });
    connection.change({ type: "cellular", downlink: 0.5 });
    expect(told).toEqual([false, true]);
  });

  it("keeps the app's hint if the browser reports none", () => {
    const said = linkBelief({ model, hint: { upBitsPerSecond: 0.5e6 } });
    const before = said.transferMs(100_000, "up", 0);
    using _ = followNetwork([said], {});
    expect(said.transferMs(100_000, "up", 0)).toEqual(before);
  });

  it("goes by the class of the connection where the network is not named", () => {
    const connection = new FakeConnection({ effectiveType: "4g", downlink: 10, rtt: 25 });
    const { link } = used(connection);
    connection.change({ downlink: 8 });
    expect(link.transferMs(1, "up", 200).origin).toBe("measured");
    connection.change({ effectiveType: "3g", downlink: 0.6 });
    expect(link.transferMs(1, "up", 200).origin).toBe("prior");
  });

  it("reports no more once it is disposed of, and accepts a browser without facts", () => {
    const connection = new FakeConnection({ type: "wifi", downlink: 10, rtt: 25 });
    const { link, following } = used(connection);
    following[Symbol.dispose]();
    connection.change({ type: "cellular", downlink: 0.5 });
    expect(link.transferMs(1, "up", 200).origin).toBe("measured");
    const untold = linkBelief({ model });
    using _ = followNetwork([untold], {});
    expect(untold.transferMs(100_000, "up", 0)).toEqual(linkBelief({ model }).transferMs(100_000, "up", 0));
  });
});
