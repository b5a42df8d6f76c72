import type { EndpointId } from "../base/index.ts";
import type { EndpointInfo } from "../endpoint/index.ts";
import type { Policy } from "./policy.ts";
import type { EndpointTable, ModelTable, RouteTable } from "../table/index.ts";

/**
 * What a radio draws, after J. Huang, F. Qian, A. Gerber, Z. M. Mao, S. Sen, O. Spatscheck, "A Close Examination of
 * Performance and Power Characteristics of 4G LTE Networks" (MobiSys 2012): power while moving data is linear in the
 * rate, and the radio stays up for a tail after the last byte. Every figure computed from it is an estimate.
 */
export interface Radio {
  /** Milliwatts for each Mbit/s, so also millijoules for each Mbit, above the base. */
  readonly upMillijoulesPerMegabit: number;
  readonly downMillijoulesPerMegabit: number;
  /** Watts while it sends or receives, whatever the rate. */
  readonly baseWatts: number;
  /** Watts while it waits, between bytes and after the last one. */
  readonly tailWatts: number;
  readonly tailMs: number;
  /** Waking it up. */
  readonly promotionMillijoules: number;
}

/** Radios by kind, figures after Huang et al. (phones of 2012; newer ones draw several times less for each byte). */
export const radios: Readonly<Record<"lte" | "3g" | "wifi" | "wired", Radio>> = {
  lte: {
    upMillijoulesPerMegabit: 438.39,
    downMillijoulesPerMegabit: 51.97,
    baseWatts: 1.288,
    tailWatts: 1.06,
    tailMs: 11_600,
    promotionMillijoules: 315,
  },
  "3g": {
    upMillijoulesPerMegabit: 868.98,
    downMillijoulesPerMegabit: 122.12,
    baseWatts: 0.818,
    tailWatts: 0.804,
    tailMs: 8_100,
    promotionMillijoules: 382,
  },
  wifi: {
    upMillijoulesPerMegabit: 283.17,
    downMillijoulesPerMegabit: 137.01,
    baseWatts: 0.133,
    tailWatts: 0.119,
    tailMs: 240,
    promotionMillijoules: 10,
  },
  wired: {
    upMillijoulesPerMegabit: 0,
    downMillijoulesPerMegabit: 0,
    baseWatts: 0,
    tailWatts: 0,
    tailMs: 0,
    promotionMillijoules: 0,
  },
};

/** What is believed of this place. */
export interface DeviceView {
  /** The endpoint that runs things here; undefined where nothing can. */
  readonly info?: EndpointInfo | undefined;
  /** Why nothing is started here now, in words. */
  readonly unavailable?: string;
  /** Expected wait of a run that is started now: what is already under way, dropped runs included. */
  readonly queueMs: number;
  /** Memory that a model may take, in bytes; Infinity when nobody says. */
  readonly memoryBytes: number;
  /** Power of a run above idle, and of merely being on while an answer is awaited, in watts. */
  readonly activeWatts: number;
  readonly idleWatts: number;
  readonly radio: Radio;
  /** What an exchange is weighed with for promotion and tail, in millijoules; less when the radio is up anyway. */
  readonly radioWakeMillijoules: number;
  /** Time from one exchange to the next for which the radio is taken to stay up; 0 where each pays for its own waking. */
  readonly radioGapMs: number;
  readonly battery?: { readonly ratio: number; readonly charging: boolean } | undefined;
}

/** What is known of one model: its frontier, who offers it, how fast it is here. */
export interface ModelView {
  readonly table: ModelTable;
  readonly routes: RouteTable;
  /** Time here over time in the profile, for each bucket of each variant of the table; NaN where it cannot run here. */
  readonly localSlowness: readonly (readonly number[])[];
}

/** The immutable snapshot that a decision reads. */
export interface View {
  readonly number: number;
  readonly atMs: number;
  /** Id of this place: offers whose path comes through here are loops. */
  readonly self: EndpointId;
  readonly device: DeviceView;
  readonly endpoints: EndpointTable;
  readonly models: ReadonlyMap<string, ModelView>;
  readonly policy: Policy;
}
