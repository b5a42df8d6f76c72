import type { CodecId } from "../../words/codec/index.ts";
import type { EndpointInfo } from "./endpoint.ts";

/** The kind of endpoints that speak Longshore's extension of the protocol. Core knows no other by name. */
const ownKind = "longshore";

/** The facts that follow from the kind of an endpoint: only Longshore's own take codecs, move state and make offers. */
export function kindFacts(
  kind: string = ownKind,
  codecs: readonly CodecId[] = [],
): Required<Pick<EndpointInfo, "kind" | "codecs" | "state" | "offers">> {
  const ours = kind === ownKind;
  return { kind, codecs: ours ? codecs : [], state: ours ? "movable" : "resident", offers: ours };
}
