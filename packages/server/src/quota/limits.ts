/** The limits of a tenant at a server or gateway. A field that is left out sets no limit. */
export interface TenantLimits {
  /** Requests that may begin in a second, on average. */
  readonly requestsPerSecond?: number;
  /** Requests under way at one time. */
  readonly concurrency?: number;
  /** Bytes of requests and replies in a second, on average. */
  readonly bytesPerSecond?: number;
  /** Seconds of run time, wherever it was, in a minute, on average. */
  readonly deviceSecondsPerMinute?: number;
  /** Micros that may be spent from midnight to midnight, UTC. */
  readonly microsPerDay?: number;
}

/** Limits of all tenants. */
export interface QuotaRules {
  /** By tenant; `*` for each tenant that is not named. */
  readonly tenants: Readonly<Record<string, TenantLimits>>;
  /** Requests of all tenants under way at one time; when they are as many, tenants take turns by weight. Default: no limit. */
  readonly concurrency?: number;
}

/** Days of budgets begin at midnight UTC. */
const dayMs = 86_400_000;

/** The day that a time is in, in days since 1970. */
export function budgetDay(wallMs: number): number {
  return Math.floor(wallMs / dayMs);
}

/** Time until the next day of budgets, in milliseconds. */
export function untilNextDayMs(wallMs: number): number {
  return dayMs - (wallMs % dayMs);
}

/** The metered quantities, in units of the wire: requests, bytes, milliseconds of run time, micros, requests under way. */
export const meters = ["requests", "bytes", "device-ms", "micros", "concurrency"] as const;

/** One of these. */
export type Meter = (typeof meters)[number];

/** The limits of one tenant. */
export function limitsOf({ tenants }: QuotaRules, tenant: string): TenantLimits {
  return (Object.hasOwn(tenants, tenant) ? tenants[tenant] : tenants["*"]) ?? {};
}

/** The time over which a rate may be exceeded: an amount of this length may come at once. */
export const burstMs = 500;

/**
 * A limit as a rate and the most that may be saved up, in units of its meter; undefined for none. Of `micros` it is a day's amount, of
 * `concurrency` the number itself.
 */
export function meterRate(
  limits: TenantLimits,
  meter: Meter,
): { readonly perMs: number; readonly most: number; readonly words: string } | undefined {
  const { requestsPerSecond, bytesPerSecond, deviceSecondsPerMinute, microsPerDay, concurrency } = limits;
  const rate = (perSecond: number, least: number, words: string) => ({
    perMs: perSecond / 1000,
    most: Math.max(least, (perSecond * burstMs) / 1000),
    words,
  });
  switch (meter) {
    case "requests":
      if (requestsPerSecond === undefined) return undefined;
      return rate(requestsPerSecond, 1, `${requestsPerSecond} requests a second`);
    case "bytes":
      if (bytesPerSecond === undefined) return undefined;
      return rate(bytesPerSecond, 1, `${bytesPerSecond} bytes a second`);
    case "device-ms":
      if (deviceSecondsPerMinute === undefined) return undefined;
      return rate(
        (deviceSecondsPerMinute * 1000) / 60,
        1,
        `${deviceSecondsPerMinute} seconds of run time a minute`,
      );
    case "micros":
      if (microsPerDay === undefined) return undefined;
      return { perMs: 0, most: microsPerDay, words: `${microsPerDay} micros a day` };
    case "concurrency":
      if (concurrency === undefined) return undefined;
      return { perMs: 0, most: concurrency, words: `${concurrency} requests under way` };
  }
}
