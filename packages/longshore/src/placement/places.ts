import { LongshoreError, type Radio, radios } from "@longshore/core";
import type { ChainFacts, HopFacts } from "@longshore/graph";
import {
  checkScenario,
  meanBitsPerSecond,
  packetBytes,
  type Trace,
  uploadMs,
  usualEndpoint,
  type WrittenEndpoint,
} from "@longshore/lab";
import { linkFrom } from "../simulate/open-traces.ts";
import { pairs } from "../simulate/read-scenario.ts";
import type { PlacementOptions } from "./options.ts";

/** The device and the places outwards from it. */
export interface Places {
  /** The device first. */
  readonly ids: readonly string[];
  readonly speeds: readonly number[];
  readonly microsPerSecond: readonly number[];
  readonly watts: number;
  readonly radio: Radio;
  readonly hops: readonly Hop[];
}

/** The way from one place to the next. */
interface Hop {
  readonly up: Trace;
  readonly down: Trace;
  /** Round trip, and what software on both sides adds. */
  readonly exchangeMs: number;
  readonly microsPerMegabyte: number;
}

const usual = { speed: 1, watts: 2, radio: "wifi", rtt: 50, overhead: 3, up: "10mbit" } as const;
const mostPlaces = 2;
/** Keys of a place that mean nothing to the plan of one request on idle places. */
const onlySimulated = ["zone", "instances", "queue", "crowd", "jitter", "watts"] as const;
/** Instants of a trace at which a body is sent, and the equally likely outcomes that are made of them. */
const [instants, outcomes] = [160, 16];

/**
 * The places that `--device` and `--endpoint` describe, in the words of `longshore simulate`. Throws
 * `invalid-configuration` and `invalid-input`.
 */
export async function placesOf(options: Pick<PlacementOptions, "device" | "endpoint">): Promise<Places> {
  const { device = {}, endpoints = [usualEndpoint] } = checkScenario(
    {
      model: "-",
      ...(options.device === undefined ? {} : { device: pairs("device", options.device) }),
      ...(options.endpoint.length === 0
        ? {}
        : { endpoints: options.endpoint.map((one) => pairs("endpoint", one, "id")) }),
    },
    "places",
  );
  if (endpoints.length > mostPlaces) {
    throw wrong(`${endpoints.length} places besides the device; at most ${mostPlaces} are planned for`);
  }
  for (const place of endpoints) {
    const odd = onlySimulated.filter((key) => place[key] !== undefined);
    if (odd.length > 0)
      throw wrong(
        `--endpoint ${place.id}: ${odd.join(", ")} is for 'simulate'; a plan knows idle places only`,
      );
  }
  return {
    ids: ["device", ...endpoints.map(({ id }) => id)],
    speeds: [device.speed ?? usual.speed, ...endpoints.map(({ speed }) => speed ?? usual.speed)],
    microsPerSecond: [0, ...endpoints.map(({ microsPerSecond }) => microsPerSecond ?? 0)],
    watts: device.watts ?? usual.watts,
    radio: radios[device.radio ?? usual.radio],
    hops: await Promise.all(endpoints.map(hopOf)),
  };
}

function wrong(message: string): LongshoreError {
  return new LongshoreError("invalid-configuration", "resolve", message);
}

async function hopOf(place: WrittenEndpoint): Promise<Hop> {
  const { up, down } = await linkFrom(place.up ?? usual.up, place.down).catch((thrown: unknown) => {
    const { reason, stage, message } = LongshoreError.from(thrown, "decode", "a link");
    throw new LongshoreError(reason, stage, `--endpoint ${place.id}: ${message}`, { cause: thrown });
  });
  return {
    up,
    down,
    exchangeMs: (place.rtt ?? usual.rtt) + (place.overhead ?? usual.overhead),
    microsPerMegabyte: place.microsPerMegabyte ?? 0,
  };
}

/** What the chain of places does to requests whose input and answer have such sizes. */
export function hopFacts(places: Places, inputBytes: number, answerBytes: number): readonly HopFacts[] {
  return places.hops.map(({ up, down, exchangeMs, microsPerMegabyte }) => ({
    // Bodies fill packets: what is shorter than one takes as long, which is no price of a byte.
    msPerByte: msPerByte(up, Math.max(packetBytes, inputBytes)),
    fixedMs: msPerByte(down, answerBytes).map((ms) => exchangeMs + ms * answerBytes),
    microsPerByte: microsPerMegabyte / 1e6,
  }));
}

/** Power of the device, and energy of a byte that it sends. */
export function deviceFacts({ watts, radio }: Places): Pick<ChainFacts, "watts" | "millijoulesPerByte"> {
  return {
    watts: { active: watts, onAir: radio.baseWatts, waiting: radio.tailWatts },
    millijoulesPerByte: radio.upMillijoulesPerMegabit * 8e-6,
  };
}

/**
 * Time of a byte in equally likely outcomes, ascending: of a body of this size that is sent at some instant of the trace. A
 * link of one rate has one.
 */
function msPerByte(trace: Trace, bodyBytes: number): readonly number[] {
  const bytes = Math.max(1, bodyBytes);
  const steady = 8000 / meanBitsPerSecond(trace);
  if (trace.origin === "synthetic") return [steady];
  const times = Array.from(
    { length: instants },
    (_none, at) => uploadMs(trace, (at / instants) * trace.lengthMs, bytes) / bytes,
  ).sort((a, b) => a - b);
  const slice = instants / outcomes;
  return Array.from(
    { length: outcomes },
    (_none, at) => times.slice(at * slice, (at + 1) * slice).reduce((sum, ms) => sum + ms, 0) / slice,
  );
}
