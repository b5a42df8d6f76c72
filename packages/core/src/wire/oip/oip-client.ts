import type { Endpoint } from "../endpoint/index.ts";
import { OipEndpoint } from "./oip-endpoint.ts";
import type { OipEndpointParts } from "./parts.ts";

/**
 * As `oipEndpoint`, for a client of this one server: it describes and runs models. It gives no offers, no list of models and one answer
 * for a request.
 */
export function oipClient(parts: OipEndpointParts): Endpoint {
  return new OipEndpoint(parts, undefined);
}
