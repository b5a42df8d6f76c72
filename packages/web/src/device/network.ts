import type { LinkBelief } from "@longshore/core";
import type { LinkHint, LinkKind } from "@longshore/core/internal";

/**
 * A browser's facts about its network (Network Information API). Any of them may be missing; Firefox and Safari report no
 * rates.
 */
export interface NetworkConnection {
  readonly type?: string;
  readonly effectiveType?: string;
  /** Mbit/s, rounded. */
  readonly downlink?: number;
  /** Milliseconds, rounded. */
  readonly rtt?: number;
  addEventListener?(type: "change", listener: () => void): void;
  removeEventListener?(type: "change", listener: () => void): void;
}

/** Of a browser's `navigator` what is read here. */
export interface NetworkNavigator {
  readonly onLine?: boolean;
  readonly connection?: NetworkConnection;
}

/** The highest rate that Chromium reports, in Mbit/s. It rounds rates to multiples of 0.025. */
const mostDownlink = 10;
/** The shortest round trip that is believed, since Chromium rounds to multiples of 25 ms. */
const leastRoundTripMs = 10;

const kinds: Readonly<Record<string, LinkKind>> = {
  ethernet: "ethernet",
  wifi: "wifi",
  cellular: "cellular",
};

/** The rate and round trip at which a class begins, if only the class is known: the table of the specification. */
const classes: Readonly<Record<string, { readonly downlink: number; readonly rtt: number }>> = {
  "slow-2g": { downlink: 0.05, rtt: 2000 },
  "2g": { downlink: 0.07, rtt: 1400 },
  "3g": { downlink: 0.7, rtt: 270 },
};

/**
 * The browser's facts about its network, as a hint about the link to any server; undefined if it reports none, or no network. A
 * rate at which it stops counting is the least rate of the link.
 *
 * @example
 * ```ts
 * import { linkHint } from "@longshore/web";
 *
 * // Chromium tells 10 Mbit/s at most, so the real rate may be higher.
 * const hint = linkHint({ onLine: true, connection: { type: "wifi", downlink: 5, rtt: 50 } });
 * console.log(hint?.kind); // wifi
 * ```
 */
export function linkHint(browser: NetworkNavigator | undefined = globalThis.navigator): LinkHint | undefined {
  const connection = browser?.connection;
  if (!connection || browser.onLine === false) return undefined;
  if (connection.type === "none" || connection.downlink === 0) return undefined;
  const { type = "", effectiveType = "" } = connection;
  const downlink = connection.downlink ?? classes[effectiveType]?.downlink;
  const roundTripMs = connection.rtt ?? classes[effectiveType]?.rtt;
  const kind = kinds[type];
  return {
    ...(kind ? { kind } : {}),
    ...(downlink === undefined ? {} : { downBitsPerSecond: downlink * 1e6 }),
    ...(downlink !== undefined && downlink >= mostDownlink ? { atLeast: true } : {}),
    ...(roundTripMs === undefined ? {} : { roundTripMs: Math.max(leastRoundTripMs, roundTripMs) }),
  };
}

/**
 * Passes the browser's facts to the beliefs about links, now and at every change; a change of network makes them forget the
 * earlier one. For browsers that name no network, a change of the connection's class counts as a change of network. Dispose it
 * when the links are no longer used.
 *
 * @example
 * ```ts
 * import { followNetwork } from "@longshore/web";
 *
 * const following = followNetwork([]);
 * following[Symbol.dispose]();
 * ```
 */
export function followNetwork(
  given: Iterable<Pick<LinkBelief, "hinted">>,
  browser: NetworkNavigator | undefined = globalThis.navigator,
): Disposable {
  const connection = browser?.connection;
  const links = [...given];
  const network = (): string => connection?.type ?? connection?.effectiveType ?? "";
  let before = network();
  const tell = (): void => {
    const now = network();
    // After a short time without a network, as in a lift, it is most likely the same one.
    if (now === "none") return;
    const hint = linkHint(browser);
    const isOther = now !== before;
    before = now;
    if (hint || isOther) for (const link of links) link.hinted(hint, isOther);
  };
  tell();
  connection?.addEventListener?.("change", tell);
  return { [Symbol.dispose]: () => connection?.removeEventListener?.("change", tell) };
}
