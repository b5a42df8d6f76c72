import type { Clock, Random, ZoneId } from "@longshore/core";
import { exponential } from "@longshore/core/internal";

/** A way that devices are connected. */
export interface DeviceLink {
  readonly name: string;
  /** Share of the devices that have it, 0..1. */
  readonly share: number;
  readonly roundTripMs: number;
  readonly upBitsPerSecond: number;
}

/** Links of devices, about as they are in use. */
export const deviceLinks: readonly DeviceLink[] = [
  { name: "wired", share: 0.15, roundTripMs: 4, upBitsPerSecond: 500e6 },
  { name: "wifi", share: 0.45, roundTripMs: 12, upBitsPerSecond: 60e6 },
  { name: "5g", share: 0.2, roundTripMs: 25, upBitsPerSecond: 20e6 },
  { name: "4g", share: 0.15, roundTripMs: 55, upBitsPerSecond: 6e6 },
  { name: "3g", share: 0.05, roundTripMs: 150, upBitsPerSecond: 1e6 },
];

/** How far from where a device is its inputs may be processed. */
export type Reach = "site" | "region" | "anywhere";

/** A device at one moment. */
export interface Device {
  readonly index: number;
  /** Where it is: a site of a region of the farm. */
  readonly zone: ZoneId;
  readonly link: DeviceLink;
  readonly reach: Reach;
  /** Name of its model. */
  readonly model: string;
  /** Number of the sequence that it is in, and of the step that comes next; absent where its model has none. */
  readonly sequence?: { readonly number: number; readonly step: number; readonly end: boolean };
}

/** The crowd of devices. */
export interface DeviceCrowd {
  readonly devices: number;
  /** Sites, ten of them to a region. */
  readonly sites: number;
  /** Name, share of the devices, and the mean time between two requests of one device, in milliseconds. */
  readonly models: readonly {
    readonly name: string;
    readonly share: number;
    readonly gapMs: number;
    readonly inSequences: boolean;
  }[];
  /** Steps of a sequence, on the mean. */
  readonly steps: number;
  /** The event that may follow a request: the device goes away, or to another site with another link. */
  readonly leaveRatio: number;
  readonly moveRatio: number;
  /** How long it is away, on the mean, in milliseconds; a sequence that it was in does not end. */
  readonly awayMs: number;
}

/** The moves of devices. */
export interface DeviceMoves {
  left: number;
  moved: number;
  /** Sequences that were left without an end. */
  abandoned: number;
}

/** The zone of a site. */
export function siteZone(site: number): ZoneId {
  return `farm/r${Math.floor(site / 10)}/s${site}`;
}

/** Zones in which a device's inputs may be processed; undefined for any. */
export function zonesOf({ zone, reach }: Device): readonly ZoneId[] | undefined {
  if (reach === "anywhere") return undefined;
  return [reach === "site" ? zone : zone.slice(0, zone.lastIndexOf("/"))];
}

function drawn<T extends { readonly share: number }>(from: readonly T[], random: Random): T {
  let left = random.next() * from.reduce((total, { share }) => total + share, 0);
  for (const one of from) if ((left -= one.share) < 0) return one;
  const [first] = from;
  if (!first) throw new RangeError("there is nothing to draw from");
  return first;
}

/**
 * Lets devices live until `untilMs`: each waits, sends a request, gets its answer or none, and waits again; now and then it
 * goes away for a while, or elsewhere. `ask` settles when its request has ended. Resolves when all requests are.
 */
export async function liveDevices(
  crowd: DeviceCrowd,
  parts: { readonly clock: Clock; readonly random: Random; readonly untilMs: number },
  ask: (device: Device) => Promise<boolean>,
): Promise<DeviceMoves> {
  const { clock, random, untilMs } = parts;
  const moves: DeviceMoves = { left: 0, moved: 0, abandoned: 0 };
  let under = 0;
  let waiting = 0;
  let over: () => void = () => undefined;
  const all = new Promise<void>((resolve) => (over = resolve));
  const settled = (): void => {
    if (under === 0 && waiting === 0) over();
  };

  function location(): { zone: ZoneId; link: DeviceLink } {
    return { zone: siteZone(Math.floor(random.next() * crowd.sites)), link: drawn(deviceLinks, random) };
  }

  function begin(index: number): void {
    const model = drawn(crowd.models, random);
    const reachDrawn = random.next();
    const reach: Reach = reachDrawn < 0.2 ? "site" : reachDrawn < 0.7 ? "region" : "anywhere";
    let { zone, link } = location();
    let sequence = 0;
    let step = 0;

    const later = (delayMs: number): void => {
      if (clock.nowMs() + delayMs >= untilMs) return;
      waiting++;
      clock.timer(delayMs, () => {
        waiting--;
        void turn();
      });
    };

    function afterwards(answered: boolean, ended: boolean): void {
      step = answered && !ended ? step + 1 : 0;
      if (step === 0) sequence++;
      const draw = random.next();
      if (draw < crowd.leaveRatio) {
        moves.left++;
        if (model.inSequences && step > 0) moves.abandoned++;
        sequence++;
        step = 0;
        later(exponential(random, crowd.awayMs));
        return;
      }
      if (draw < crowd.leaveRatio + crowd.moveRatio) {
        moves.moved++;
        ({ zone, link } = location());
      }
      later(exponential(random, model.gapMs));
    }

    async function turn(): Promise<void> {
      under++;
      const end = step > 0 && random.next() * crowd.steps < 1;
      const device: Device = { index, zone, link, reach, model: model.name };
      const answered = await ask(
        model.inSequences ? { ...device, sequence: { number: sequence, step, end } } : device,
      );
      afterwards(answered, end);
      under--;
      settled();
    }

    // As if each had sent one before at some time.
    later(exponential(random, model.gapMs));
  }

  for (let index = 0; index < crowd.devices; index++) begin(index);
  settled();
  await all;
  return moves;
}
