/** How a request and its reply cross a link, and what the caller learns of the link from that: as in the protocol. */
import type { Call, Clock, LinkLearner, Progress } from "@longshore/core";
import { acknowledgeStep, probeStep, tinyBytes } from "@longshore/core/internal";
import type { EmulatedLink } from "../link/index.ts";

/** The bytes that travel around tensors. */
export interface Envelope {
  readonly up: number;
  readonly down: number;
}

/** A question and its head. */
export const questionBytes = 400;

/** A request that has arrived. Disposed without an answer, it was given up. */
export interface ArrivedRequest extends Disposable {
  /** The reply begins; this part of the time since the request arrived was the endpoint's. */
  answered(endpointMs: number): void;
}

/** Both ways of one endpoint's link. */
export interface Wire {
  /** Resolves when the last byte has arrived there. */
  send(bytes: number, call: Call, progress?: Progress): Promise<ArrivedRequest>;
  /** The same for bytes that only measure the link, their head among them. */
  probe(bytes: number, call: Call): Promise<ArrivedRequest>;
  /** Resolves when the last byte is here. */
  reply(bytes: number, call: Call, begun?: () => void): Promise<void>;
}

const nothing = (): void => undefined;
const atOnce: Wire = {
  send: () => Promise.resolve({ answered: nothing, [Symbol.dispose]: nothing }),
  probe: () => Promise.resolve({ answered: nothing, [Symbol.dispose]: nothing }),
  reply: () => Promise.resolve(),
};

/**
 * The wire of a link; one that takes no time where there is none. A short body tells of the delay only, a longer one is
 * acknowledged while it arrives; of a reply only what happens once its first bytes are here says something.
 */
export function wireOf(parts: {
  readonly clock: Clock;
  readonly link: EmulatedLink | undefined;
  readonly learner: LinkLearner | undefined;
  readonly envelope: Envelope;
}): Wire {
  const { clock, link, learner, envelope } = parts;
  if (!link) return atOnce;

  const sent = async (
    bytes: number,
    probes: boolean,
    call: Call,
    progress?: Progress,
  ): Promise<ArrivedRequest> => {
    const stepBytes = probes ? probeStep(bytes) : acknowledgeStep(bytes);
    const acknowledges = probes || bytes > stepBytes;
    let note =
      probes || bytes >= tinyBytes
        ? learner?.sendStarted(bytes, "up", clock.nowMs(), acknowledges ? "acknowledged" : "none")
        : undefined;
    const end = (complete: boolean, endpointMs = 0): void => {
      note?.ended(clock.nowMs(), complete, endpointMs);
      note = undefined;
    };
    if (acknowledges && note) progress?.onItsWay?.(note);
    const acknowledged = (total: number): void => {
      note?.progressed(total, clock.nowMs());
      if (total > envelope.up) progress?.acknowledged(total - envelope.up);
      // The last acknowledgement comes after the bytes have arrived, while the peer is at work already.
      if (total >= bytes) end(true);
    };
    const { abort } = call;
    try {
      await link.carry(bytes, "up", acknowledges ? { abort, acknowledged, stepBytes } : { abort });
    } catch (thrown) {
      end(false);
      throw thrown;
    }
    return { answered: (endpointMs) => end(true, endpointMs), [Symbol.dispose]: () => end(false) };
  };

  return {
    send: (bytes, call, progress) => sent(bytes, false, call, progress),
    probe: (bytes, call) => sent(bytes, true, call),
    async reply(bytes, call, begun = nothing) {
      let note: ReturnType<LinkLearner["sendStarted"]> | undefined;
      let heard = false;
      let complete = false;
      try {
        await link.carry(bytes, "down", {
          abort: call.abort,
          arrived(total) {
            if (!heard) begun();
            heard = true;
            if (bytes > tinyBytes) note ??= learner?.sendStarted(bytes, "down", clock.nowMs());
            note?.progressed(total, clock.nowMs());
          },
        });
        complete = true;
      } finally {
        note?.ended(clock.nowMs(), complete);
      }
    },
  };
}
