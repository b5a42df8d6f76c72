import type { Endpoint, EndpointCapabilities } from "./endpoint.ts";

/** The members that a wrapper replaces. Each one that is absent stays the inner endpoint's. */
export interface EndpointChanges extends Partial<Omit<Endpoint, "capabilities">> {
  /** Capabilities that the wrapper replaces or adds. One that is `undefined` is taken away. */
  readonly capabilities?: {
    readonly [Name in keyof EndpointCapabilities]?: EndpointCapabilities[Name] | undefined;
  };
}

/**
 * The inner endpoint with some members replaced. All other members and capabilities stay, also those that the seam gets later: a
 * wrapper that lists what it passes on loses them. A replaced `infer` hands on `progress`; a replaced function that concerns a
 * segment is replaced together with all others that concern it.
 *
 * @example
 * ```ts
 * const counted = wrapEndpoint(server, {
 *   infer(request, call, progress) {
 *     runs++;
 *     return server.infer(request, call, progress);
 *   },
 * });
 * ```
 */
export function wrapEndpoint(inner: Endpoint, changes: EndpointChanges): Endpoint {
  const { capabilities: changed = {}, ...members } = changes;
  const capabilities = { ...inner.capabilities, ...changed };
  for (const [name, value] of Object.entries(changed))
    // The name is a key of `changed`, whose keys are those of the capabilities.
    if (value === undefined) delete capabilities[name as keyof EndpointCapabilities];
  return {
    info: inner.info,
    describe: inner.describe.bind(inner),
    offers: inner.offers.bind(inner),
    infer: inner.infer.bind(inner),
    close: inner.close.bind(inner),
    ...members,
    // Those that were undefined were deleted above.
    capabilities: capabilities as EndpointCapabilities,
  };
}
