import type { Endpoint } from "./endpoint.ts";

/**
 * All that an endpoint can do, to be spread into a wrapper that changes some of it. `known` and `lacks` and `loaded` are left out: a
 * wrapper may change what they would tell, and a caller does without them. A wrapper that lists what it passes on
 * forgets what the seam gets later.
 */
export function passThrough(inner: Endpoint): Endpoint {
  const {
    known: _known,
    lacks: _lacks,
    loaded: _loaded,
    loadMs: _loadMs,
    ...capabilities
  } = inner.capabilities ?? {};
  return {
    info: inner.info,
    describe: inner.describe.bind(inner),
    offers: inner.offers.bind(inner),
    infer: inner.infer.bind(inner),
    capabilities,
    close: inner.close.bind(inner),
  };
}
