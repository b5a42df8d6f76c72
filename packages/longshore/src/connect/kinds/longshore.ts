import { LongshoreError, oipEndpoint } from "@longshore/core";
import type { EndpointKind } from "./kind.ts";
import { overHttp } from "./over-http.ts";

/** Servers of our own: the Open Inference Protocol with the extension, which reports load in each reply. */
export const longshore: EndpointKind = {
  kind: "longshore",
  read({ grpc }) {
    if (grpc === undefined) return {};
    const why = "servers of kind longshore answer several times over HTTP: leave out where they speak gRPC";
    throw new LongshoreError("invalid-configuration", "resolve", why);
  },
  dial: (info, parts, options) => oipEndpoint(overHttp(info, parts, options)),
};
