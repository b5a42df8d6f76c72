import { type Estimate, linkBelief, type LinkLearner } from "@longshore/core";
import { type LinkBeliefOptions, shift, type TransferNote } from "@longshore/core/internal";
import type { ReplayPolicy, RequestFacts, Sight } from "./policy.ts";

/** A client's knowledge of its link: the belief of core, from its own uploads, acknowledgements and probes alone. */
export interface HonestSensor {
  /** Time from now until the reply to an upload that would start now. */
  replyMs(bytes: number, sight: Sight): Estimate;
  /** Time from now until the reply to the upload of a request under way; undefined when none is. */
  remainingMs(request: RequestFacts, sight: Sight): Estimate | undefined;
  /** The notes that a replay gives; a policy that senses hands them on. */
  readonly notes: Required<Pick<ReplayPolicy, "sent" | "acknowledged" | "sendEnded" | "probe">>;
  /** Bytes of a probe to send now, for a request that is due in that time. */
  probeFor(sight: Sight, dueInMs: number): number;
}

/** How a sensor senses. */
export interface HonestSensorOptions {
  readonly link?: LinkBeliefOptions;
  /** Whether probes are sent when the link is idle; default true. */
  readonly probes?: boolean;
}

/** Exchanges after which a belief about a round trip rests on them alone. */
const exchanges = 8;

/** The round trip of a replay is fixed and known: as many exchanges as make a belief firm. */
export function meetRoundTrip(link: LinkLearner, roundTripMs: number, nowMs: number): void {
  for (let seen = 0; seen < exchanges; seen++) link.roundTripSeen(roundTripMs, nowMs);
}

/** A sensor that knows only the round trip at first. */
export function honestSensor(options: HonestSensorOptions = {}): HonestSensor {
  const { probes = true } = options;
  const link = linkBelief(options.link);
  const underWay = new Map<number, TransferNote>();
  let knowsRoundTrip = false;

  function meet(sight: Sight): void {
    if (knowsRoundTrip) return;
    knowsRoundTrip = true;
    meetRoundTrip(link, sight.roundTripMs, sight.nowMs);
  }

  function probeFor(sight: Sight, dueInMs?: number): number {
    meet(sight);
    return probes ? link.probeBytes("up", sight.nowMs, dueInMs) : 0;
  }

  return {
    probeFor,
    replyMs(bytes, sight) {
      meet(sight);
      const upload = link.transferMs(bytes, "up", sight.nowMs);
      return shift(upload, sight.serverMs + sight.roundTripMs / 2);
    },
    remainingMs(request, sight) {
      const note = underWay.get(request.id);
      return note && shift(note.remainingMs(sight.nowMs), sight.serverMs + sight.roundTripMs / 2);
    },
    notes: {
      sent(id, bytes, nowMs) {
        underWay.set(id, link.sendStarted(bytes, "up", nowMs));
      },
      acknowledged: (id, totalBytes, nowMs) => underWay.get(id)?.progressed(totalBytes, nowMs),
      sendEnded(id, complete, nowMs) {
        underWay.get(id)?.ended(nowMs, complete);
        underWay.delete(id);
      },
      probe: (sight) => probeFor(sight),
    },
  };
}
