import {
  type Call,
  type Clock,
  type EndpointInfo,
  LongshoreError,
  type Random,
  type Segment,
} from "@longshore/core";
import { Chain } from "@longshore/core/internal";
import type { LoadedVersion } from "../repository/index.ts";
import { type Admission, admit, type Demand, type Scheduler } from "../schedule/index.ts";
import type { Expectations } from "./expectations.ts";
import type { SegmentPlan } from "../run/index.ts";
import { standIns } from "./variants.ts";

/** The demands of a request for a segment, judged by the last request that ran it. */
export interface KnownSegment {
  readonly loaded: LoadedVersion;
  readonly plan: SegmentPlan;
  readonly demands: () => readonly Demand[];
}

/** Capacity reserved for a request whose inputs are still to come. */
export interface Pass extends Disposable {
  /** The variant that it was granted for. */
  readonly variant: string;
  /** The grant; the caller disposes it. Undefined if there was nothing to judge by, or if the grant has lapsed. */
  take(): Admission | undefined;
}

/** Admission of requests before their inputs have arrived. */
export interface EarlyAdmission {
  remember(segment: Segment, variant: string, entry: KnownSegment): void;
  /** See `Endpoint.admit`. */
  admit(segment: Segment, call: Call, leastAgreementRatio: number | undefined): Pass;
  /** Takes back what is kept at a scheduler that ends: whose inputs are still to come is judged again when they are there. */
  ended(scheduler: Scheduler): void;
}

export interface EarlyAdmissionParts {
  readonly info: EndpointInfo;
  readonly expectations: Expectations;
  readonly clock: Clock;
  readonly random: Random;
}

/** Segments that are remembered; the oldest goes. */
const mostSegments = 512;
/** How long capacity stays reserved for inputs that do not come, once other requests want it. */
const keptMs = 1000;

/** Grants a request, or throws; see `admit` of the schedule module. */
export function admitAt(
  entry: KnownSegment,
  { expectations, clock, random }: EarlyAdmissionParts,
  call: Call,
): Admission {
  const { plan } = entry;
  return admit(
    {
      demands: entry.demands(),
      otherMs: expectations.transformMs(plan),
      slackMs: expectations.slackMs(plan, call.tenant),
    },
    call,
    clock.nowMs(),
    random,
  );
}

/** Whether an error says that there is no time or no room in the queue, so that a cheaper variant may do. */
export function isShed(thrown: unknown): boolean {
  return LongshoreError.is(thrown) && (thrown.reason === "rejected" || thrown.reason === "queue-full");
}

class KeptPass implements Pass {
  readonly variant: string;
  readonly grantedMs: number;
  readonly #taken: () => void;
  #left: Admission | undefined;

  constructor(variant: string, admission: Admission | undefined, grantedMs: number, taken: () => void) {
    this.variant = variant;
    this.grantedMs = grantedMs;
    this.#taken = taken;
    this.#left = admission;
  }

  take(): Admission | undefined {
    const left = this.#left;
    this.#left = undefined;
    this.#taken();
    return left;
  }

  isAt(scheduler: Scheduler): boolean {
    return this.#left?.ticket(scheduler) !== undefined;
  }

  [Symbol.dispose](): void {
    this.take()?.[Symbol.dispose]();
  }
}

/** A pass that this engine granted; passes of other endpoints do not count here. */
export function ownPass(pass: Disposable | undefined): Pass | undefined {
  return pass instanceof KeptPass ? pass : undefined;
}

export function earlyAdmission(parts: EarlyAdmissionParts): EarlyAdmission {
  const known = new Map<string, KnownSegment>();
  /** Passes that no request has taken yet, the oldest first. */
  const kept = new Chain<KeptPass>();
  /** The last key, which is usually the next one too: building and looking up the text would cost every request. */
  let last = { model: "", version: "", variant: "", from: "", to: "", key: "///.." };
  const keyOf = ({ model, version, from, to }: Segment, variant: string): string => {
    const same =
      last.model === model &&
      last.version === version &&
      last.variant === variant &&
      last.from === from &&
      last.to === to;
    if (!same)
      last = { model, version, variant, from, to, key: `${model}/${version}/${variant}/${from}..${to}` };
    return last.key;
  };

  function find(segment: Segment, variant: string): KnownSegment | undefined {
    const entry = known.get(keyOf(segment, variant));
    if (!entry) return undefined;
    const current =
      entry.demands().every(({ scheduler }) => scheduler.open) &&
      (segment.digest === "" || segment.digest === entry.loaded.description.digest);
    if (!current) known.delete(keyOf(segment, variant));
    return current ? entry : undefined;
  }

  function passFor(variant: string, admission: Admission | undefined): KeptPass {
    const pass = new KeptPass(variant, admission, parts.clock.nowMs(), () => link && kept.remove(link));
    const link = admission && kept.add(pass);
    return pass;
  }

  /** Takes back capacity that was reserved for too long; false when there was none. */
  function lapse(): boolean {
    const beforeMs = parts.clock.nowMs() - keptMs;
    const size = kept.size;
    for (let link = kept.first; link && link.value.grantedMs <= beforeMs; link = kept.first)
      link.value[Symbol.dispose]();
    return kept.size < size;
  }

  function grant(entry: KnownSegment, variant: string, call: Call): KeptPass {
    try {
      return passFor(variant, admitAt(entry, parts, call));
    } catch (thrown) {
      if (!isShed(thrown) || !lapse()) throw thrown;
      return passFor(variant, admitAt(entry, parts, call));
    }
  }

  return {
    remember(segment, variant, entry) {
      const key = keyOf(segment, variant);
      const [oldest] = known.keys();
      if (known.size >= mostSegments && oldest !== undefined && !known.has(key)) known.delete(oldest);
      known.set(key, entry);
    },
    admit(segment, call, leastAgreementRatio) {
      const entry = find(segment, segment.variant);
      if (!entry) return passFor(segment.variant, undefined);
      try {
        return grant(entry, segment.variant, call);
      } catch (thrown) {
        if (!isShed(thrown)) throw thrown;
        for (const { name } of standIns(entry.loaded, segment.variant, leastAgreementRatio, parts.info)) {
          const other = find(segment, name);
          // Nothing is known of it: the request itself will tell.
          if (!other) return passFor(segment.variant, undefined);
          try {
            return grant(other, name, call);
          } catch (again) {
            if (!isShed(again)) throw again;
          }
        }
        throw thrown;
      }
    },
    ended(scheduler) {
      for (let link = kept.first, next = link; link; link = next) {
        next = link.after;
        if (link.value.isAt(scheduler)) link.value[Symbol.dispose]();
      }
    },
  };
}
