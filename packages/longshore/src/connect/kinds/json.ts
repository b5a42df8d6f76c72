import type { EndpointKind } from "./kind.ts";
import { plainKind } from "./oip.ts";

/** Servers of the plain protocol without binary tensors. */
export const json: EndpointKind = plainKind("json", "MLServer", "json");
