import type { Endpoint } from "./endpoint.ts";

/**
 * All that an endpoint has, to be spread into a wrapper that changes some of it. A wrapper that lists what it passes on
 * forgets what the seam gets later.
 */
export function through(inner: Endpoint): Endpoint {
  return {
    info: inner.info,
    describe: inner.describe.bind(inner),
    offers: inner.offers.bind(inner),
    infer: inner.infer.bind(inner),
    ...(inner.inferStream ? { inferStream: inner.inferStream.bind(inner) } : {}),
    ...(inner.admit ? { admit: inner.admit.bind(inner) } : {}),
    ...(inner.prepare ? { prepare: inner.prepare.bind(inner) } : {}),
    ...(inner.ready ? { ready: inner.ready.bind(inner) } : {}),
    ...(inner.models ? { models: inner.models.bind(inner) } : {}),
    ...(inner.probe ? { probe: inner.probe.bind(inner) } : {}),
    loadEveryMs: inner.loadEveryMs,
    ...(inner.sendsOn ? { sendsOn: inner.sendsOn } : {}),
    ...(inner.forwardsTenants ? { forwardsTenants: inner.forwardsTenants } : {}),
    ...(inner.forgetsInputs ? { forgetsInputs: inner.forgetsInputs } : {}),
    close: inner.close.bind(inner),
  };
}
