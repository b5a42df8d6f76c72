/**
 * A whole world on a virtual clock: one device, endpoints with emulated links, and the real offloader over them. Only service
 * times and links are simulated; beliefs, plans, guards and fallbacks are the ones that run in production.
 */
import {
  createOffloader,
  type EndpointInfo,
  linkBelief,
  type LinkBelief,
  type LinkLearner,
  linkModel,
  type OffloadDefaults,
  type Offloader,
  type Policy,
  type Radio,
  type Random,
  seededRandom,
  type Observer,
  silentObserver,
  standardPolicy,
} from "@longshore/core";
import { type BeliefMemory, type LinkHint, radios } from "@longshore/core/internal";
import { emulatedLink, type EmulatedLink, type TcpOptions } from "../link/index.ts";
import type { Trace } from "../trace/index.ts";
import { fifoSlots, type Slots, stepSlots } from "../slots/index.ts";
import { type FixedPlan, followPlan } from "./fixed-plan.ts";
import { defaultEnvelope, simulatedEndpoint, type SimulatedEndpoint } from "./simulated-endpoint.ts";
import { wholeSegment } from "./simulated-offers.ts";
import type { SimulatedModel } from "./simulated-model.ts";
import { type VirtualClock, virtualClock } from "./virtual-clock.ts";
import type { Envelope } from "./wire.ts";

/** The device that sends requests. */
export interface WorldDevice {
  /** Relative to the profile's machine. */
  readonly speed: number;
  readonly info: EndpointInfo;
  /** Default wired, which draws nothing. */
  readonly radio?: Radio;
}

/** An endpoint at the end of a link. */
export interface WorldEndpoint {
  readonly info: EndpointInfo;
  /** Relative to the profile's machine; default 1. */
  readonly speed?: number;
  /** Requests that run at once; default 1. */
  readonly instances?: number;
  /**
   * Cores of an endpoint that works the steps of pipelines side by side, with one instance of each graph; instead of
   * `instances`. Default: it works whole requests.
   */
  readonly cores?: number;
  /** Requests that may wait for an instance; default 1000. */
  readonly maxQueue?: number;
  /**
   * The time that the software of both sides adds to an exchange, in milliseconds, or several such values to draw from; default
   * 0.
   */
  readonly handlingMs?: number | readonly number[];
  /** Bytes that travel around tensors; default `defaultEnvelope`. */
  readonly envelope?: Envelope;
  readonly up: Trace;
  readonly down: Trace;
  /** One way, in milliseconds. */
  readonly delayMs: number;
  readonly jitterMs?: number;
  /** Where in the traces the link begins; default 0. */
  readonly traceOffsetMs?: number;
  /** See `EmulatedLinkParts`. */
  readonly quantumMs?: number;
  readonly tcp?: TcpOptions;
  readonly delayAtMs?: (sinceMs: number) => number;
  /** The device's hint about the link before it is used; default none. */
  readonly hint?: LinkHint;
}

/** The parts of a world. */
export interface OffloadWorldParts {
  readonly models: readonly SimulatedModel[];
  readonly device: WorldDevice;
  readonly endpoints: readonly WorldEndpoint[];
  readonly seed: number;
  /** Spread of service times; see `SimulatedEndpointParts`. */
  readonly logSpread?: number;
  /** Default `standardPolicy()`. */
  readonly policy?: Policy;
  readonly defaults?: OffloadDefaults;
  /** Whether beliefs about links are kept, which takes most of a world's thought; false for fixed plans. Default true. */
  readonly learns?: boolean;
  /** Wraps the simulated endpoints, the device among them; default: no wrapper. */
  readonly wrap?: (endpoint: SimulatedEndpoint, clock: VirtualClock) => SimulatedEndpoint;
  /** Receives the events of the offloader. Default: none. */
  readonly observer?: Observer;
  /** Beliefs that an earlier world left; links are named by their endpoints. Default: none. */
  readonly beliefs?: (clock: VirtualClock) => BeliefMemory;
}

/** One endpoint of a world. */
export interface WorldEndpointInside {
  readonly endpoint: SimulatedEndpoint;
  readonly link: EmulatedLink;
  /** The belief about its link; undefined in a world that does not learn. */
  readonly learner: LinkLearner | undefined;
  /** The slots that run its requests, for other callers that come by another way. */
  readonly slots: Slots;
}

/** A world that stands still until its clock is driven. */
export interface OffloadWorld {
  readonly clock: VirtualClock;
  readonly random: Random;
  readonly device: SimulatedEndpoint;
  readonly endpoints: ReadonlyMap<string, WorldEndpointInside>;
  readonly offloader: Offloader;
  /** The same world under a plan that never changes. Drive either this or the offloader. */
  fixed(model: SimulatedModel, plan: FixedPlan): Pick<Offloader, "infer">;
  /** The same under plans that are chosen for each request when it comes. */
  follow(model: SimulatedModel, choose: () => FixedPlan): Pick<Offloader, "infer">;
}

/** Makes a world. Same parts and seed: the same links, services and chances, so that plans can be compared in equal worlds. */
export function offloadWorld(parts: OffloadWorldParts): OffloadWorld {
  const clock = virtualClock();
  const { models, seed } = parts;
  const spread = parts.logSpread === undefined ? {} : { logSpread: parts.logSpread };
  const { speed, info, radio = radios.wired } = parts.device;
  const model = parts.learns === false ? undefined : linkModel();
  const links = new Map<string, LinkBelief>();
  const beliefs = parts.beliefs?.(clock);
  const { wrap = (endpoint) => endpoint } = parts;
  const device = wrap(
    simulatedEndpoint({ info, models, clock, random: seededRandom(seed), speed, ...spread }),
    clock,
  );
  const endpoints = new Map<string, WorldEndpointInside>();
  for (const [index, about] of parts.endpoints.entries()) {
    const random = seededRandom(seed + 7919 * (index + 1));
    const memory = beliefs?.link(about.info.id);
    const known = { ...(about.hint ? { hint: about.hint } : {}), ...(memory ? { memory } : {}) };
    const learner = model && linkBelief({ model, ...known });
    if (learner) links.set(about.info.id, learner);
    const link = emulatedLink({ ...about, clock, random });
    const { cores, instances = 1, maxQueue = 1000 } = about;
    const slots =
      cores === undefined
        ? fifoSlots({ clock, count: instances, maxQueue })
        : stepSlots({ clock, cores, maxQueue });
    const endpoint = simulatedEndpoint({
      info: about.info,
      models,
      clock,
      random,
      link,
      ...(learner ? { learner } : {}),
      slots,
      callerSpeed: speed,
      handlingMs: about.handlingMs ?? 0,
      envelope: about.envelope ?? defaultEnvelope,
      speed: about.speed ?? 1,
      ...spread,
    });
    endpoints.set(about.info.id, { endpoint: wrap(endpoint, clock), link, learner, slots });
  }
  const follow: OffloadWorld["follow"] = (simulated, choose) =>
    followPlan({
      clock,
      device,
      endpoint: (id) => endpoints.get(id)?.endpoint,
      segment: wholeSegment(simulated.description),
      choose,
      activeWatts: info.rates.activeWatts,
      radio,
    });
  beliefs?.follow(() => ({ links: remembered(links, clock.nowMs()) }));
  const random = seededRandom(seed + 1);
  const offloader = createOffloader({
    local: device,
    endpoints: [...endpoints.values()].map(({ endpoint }) => endpoint),
    policy: parts.policy ?? standardPolicy(),
    clock,
    random,
    observer: parts.observer ?? silentObserver,
    links: (id) => links.get(id),
    device: { activeWatts: info.rates.activeWatts, radio },
    ...(parts.defaults ? { defaults: parts.defaults } : {}),
    ...(beliefs ? { beliefs } : {}),
  });
  return {
    clock,
    random,
    device,
    endpoints,
    offloader,
    fixed: (simulated, plan) => follow(simulated, () => plan),
    follow,
  };
}

type LinkMemory = NonNullable<ReturnType<LinkBelief["remember"]>>;

function remembered(links: ReadonlyMap<string, LinkBelief>, nowMs: number): ReadonlyMap<string, LinkMemory> {
  const told = new Map<string, LinkMemory>();
  for (const [id, link] of links) {
    const memory = link.remember(nowMs);
    if (memory) told.set(id, memory);
  }
  return told;
}
