import { LongshoreError, type Radio } from "@longshore/core";
import { radios } from "@longshore/core/internal";
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

/** The device and the endpoints outwards from it. */
export interface PlacementTiers {
  /** The device first. */
  readonly ids: readonly string[];
  readonly speeds: readonly number[];
  readonly microsPerSecond: readonly number[];
  readonly watts: number;
  readonly radio: Radio;
  readonly hops: readonly Hop[];
}

/** The way from one endpoint to the next. */
interface Hop {
  readonly up: Trace;
  readonly down: Trace;
  /** Round trip, and what software on both sides adds. */
  readonly exchangeMs: number;
  readonly microsPerMegabyte: number;
}

const usual = { speed: 1, watts: 2, radio: "wifi", rtt: 50, overhead: 3, up: "10mbit" } as const;
const mostEndpoints = 2;
/** Keys of an endpoint that mean nothing to the plan of one request on idle endpoints. */
const onlySimulated = ["zone", "instances", "queue", "crowd", "jitter", "watts"] as const;
/** Instants of a trace at which a body is sent, and the equally likely outcomes that are made of them. */
const [instants, outcomes] = [160, 16];

/**
 * The endpoints that `--device` and `--endpoint` describe, in the words of `longshore simulate`. Throws
 * `invalid-configuration` and `invalid-input`.
 */
export async function endpointsOf(
  options: Pick<PlacementOptions, "device" | "endpoint">,
): Promise<PlacementTiers> {
  const { device = {}, endpoints = [usualEndpoint] } = checkScenario(
    {
      model: "-",
      ...(options.device === undefined ? {} : { device: pairs("device", options.device) }),
      ...(options.endpoint.length === 0
        ? {}
        : { endpoints: options.endpoint.map((one) => pairs("endpoint", one, "id")) }),
    },
    "endpoints",
  );
  if (endpoints.length > mostEndpoints) {
    throw wrong(`${endpoints.length} endpoints beside the device; at most ${mostEndpoints} are planned for`);
  }
  for (const endpoint of endpoints) {
    const odd = onlySimulated.filter((key) => endpoint[key] !== undefined);
    if (odd.length > 0)
      throw wrong(
        `--endpoint ${endpoint.id}: ${odd.join(", ")} is for 'simulate'; a plan knows idle endpoints only`,
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

async function hopOf(endpoint: WrittenEndpoint): Promise<Hop> {
  const { up, down } = await linkFrom(endpoint.up ?? usual.up, endpoint.down).catch((thrown: unknown) => {
    const { reason, stage, message } = LongshoreError.from(thrown, "decode", "a link");
    throw new LongshoreError(reason, stage, `--endpoint ${endpoint.id}: ${message}`, { cause: thrown });
  });
  return {
    up,
    down,
    exchangeMs: (endpoint.rtt ?? usual.rtt) + (endpoint.overhead ?? usual.overhead),
    microsPerMegabyte: endpoint.microsPerMegabyte ?? 0,
  };
}

/** The effect of the chain of endpoints on requests whose input and answer have these sizes. */
export function hopFacts(
  tiers: PlacementTiers,
  inputBytes: number,
  answerBytes: number,
): readonly HopFacts[] {
  return tiers.hops.map(({ up, down, exchangeMs, microsPerMegabyte }) => ({
    // Bodies fill packets: one shorter than a packet takes as long, which is no price of a byte.
    msPerByte: msPerByte(up, Math.max(packetBytes, inputBytes)),
    fixedMs: msPerByte(down, answerBytes).map((ms) => exchangeMs + ms * answerBytes),
    microsPerByte: microsPerMegabyte / 1e6,
  }));
}

/** Power of the device, and energy of a byte that it sends. */
export function devicePower({
  watts,
  radio,
}: PlacementTiers): Pick<ChainFacts, "watts" | "millijoulesPerByte"> {
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
