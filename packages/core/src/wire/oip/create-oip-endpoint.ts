import type { Endpoint } from "../endpoint/index.ts";
import { fleetReaders } from "./fleet-readers.ts";
import { OipEndpoint } from "./oip-endpoint.ts";
import type { OipEndpointParts } from "./parts.ts";

/**
 * An endpoint over the network: any server of the Open Inference Protocol v2, with Longshore's extension (`info.offers`)
 * or without. Inputs are sent in their codecs, part by part and never joined; replies are checked for shape, datatype
 * and completeness where the model is known (`describe`). Fails with `unreachable`, `no-answer`, `bad-reply`, the
 * deadline, or the reason that the server gave; never retries, since that is the plan's business.
 */
export function oipEndpoint(parts: OipEndpointParts): Endpoint {
  return new OipEndpoint(parts, fleetReaders);
}
