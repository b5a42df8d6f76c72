import { type Clock, LongshoreError } from "../../words/base/index.ts";

/*
 * A port takes a limited number of connections. A client that opens that many and sends nothing closes it for all others,
 * health probes included, and an orchestrator then restarts a healthy server. Time limits alone do not help: connections can be
 * opened faster than they expire. So the guard of a listener counts connections by source address and gives each address a
 * share. Connections beyond a limit are not closed at once: a few are accepted for a short time and served health probes only.
 * When these are too many, the oldest is destroyed. A probe sends its request at once, so it is answered before it is the
 * oldest; a silent connection is not worth keeping.
 */

/** How many connections a listener takes. */
export interface ConnectionLimits {
  /** Connections that are served at one time. */
  readonly maxConnections: number;
  /** Of these, connections from one source address. All addresses of one IPv6 /64 network count as one. */
  readonly maxConnectionsPerAddress: number;
  /** Connections beyond these limits that are served health probes, at one time. 0: connections beyond are closed at once. */
  readonly probeConnections: number;
  /** How long such a connection lives, in milliseconds. */
  readonly probeTimeoutMs: number;
}

/** The limits that listeners have by default. */
export const defaultConnectionLimits = {
  maxConnections: 1024,
  probeConnections: 64,
  probeTimeoutMs: 2000,
} as const;

/** One connection, as the guard counts it. */
export interface ConnectionAdmission {
  /**
   * Throws `rejected` when the connection is beyond a limit, still. Call it before each request other than a health probe: a
   * connection that came when the port was full is served as soon as a connection closes.
   */
  demand(): void;
  /** Whether the connection is beyond a limit, as far as is known. */
  readonly probesOnly: boolean;
  /** The connection is no more. */
  left(): void;
}

/** Counts the connections of one listener. */
export interface ConnectionGuard {
  /**
   * Counts a connection that was accepted. Undefined: it has to be closed at once.
   *
   * @param destroy Ends the connection without a word; called when its time in the reserve ends.
   */
  admit(address: string | undefined, destroy: () => void): ConnectionAdmission | undefined;
}

/**
 * The unit that counts as one source address: an IPv4 address, or the /64 network of an IPv6 address, which one host may own.
 */
export function sourceOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address);
  if (mapped?.[1] !== undefined) return mapped[1];
  if (!address.includes(":")) return address;
  const [plain = ""] = address.split("%");
  const [before = "", after] = plain.split("::");
  const groups = before === "" ? [] : before.toLowerCase().split(":");
  const behind = after === undefined || after === "" ? [] : after.toLowerCase().split(":");
  while (groups.length + behind.length < 8) groups.push("0");
  return [...groups, ...behind].slice(0, 4).join(":");
}

/** Makes the guard of a listener. */
export function createConnectionGuard(limits: ConnectionLimits, clock: Clock): ConnectionGuard {
  const { maxConnections, maxConnectionsPerAddress, probeConnections, probeTimeoutMs } = limits;
  const bySource = new Map<string, number>();
  let served = 0;
  /** Those beyond the limits, the oldest first: ends them. */
  const reserve = new Set<() => void>();

  const full = (source: string): string | undefined => {
    if (served >= maxConnections) return `all ${maxConnections} connections of this port are in use`;
    const used = bySource.get(source) ?? 0;
    if (used >= maxConnectionsPerAddress)
      return `your address has ${used} connections to this port, and one address may have ${maxConnectionsPerAddress}`;
    return undefined;
  };
  const count = (source: string, change: 1 | -1): void => {
    served += change;
    const used = (bySource.get(source) ?? 0) + change;
    if (used > 0) bySource.set(source, used);
    else bySource.delete(source);
  };

  return {
    admit(address, destroy) {
      const source = sourceOf(address ?? "");
      let probesOnly = full(source) !== undefined;
      if (!probesOnly) count(source, 1);
      else if (probeConnections === 0) return undefined;
      let timer: Disposable | undefined;
      const leaveReserve = (): void => {
        timer?.[Symbol.dispose]();
        reserve.delete(end);
      };
      const end = (): void => {
        leaveReserve();
        destroy();
      };
      if (probesOnly) {
        const [oldest] = reserve;
        if (oldest && reserve.size >= probeConnections) oldest();
        reserve.add(end);
        timer = clock.timer(probeTimeoutMs, end);
      }
      let here = true;
      return {
        get probesOnly() {
          return probesOnly;
        },
        demand() {
          if (!probesOnly || !here) return;
          const why = full(source);
          if (why !== undefined)
            throw new LongshoreError(
              "rejected",
              "admission",
              `${why}; only health probes are answered here until connections are closed`,
              { retryAfterMs: 1000 },
            );
          probesOnly = false;
          leaveReserve();
          count(source, 1);
        },
        left() {
          if (!here) return;
          here = false;
          if (probesOnly) leaveReserve();
          else count(source, -1);
        },
      };
    },
  };
}
