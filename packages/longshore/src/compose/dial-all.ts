import {
  type Clock,
  type Endpoint,
  type EndpointInfo,
  linkBelief,
  type LinkLearner,
  linkModel,
  type Observer,
  type Random,
} from "@longshore/core";
import { dial, serverInfo, type ServerOptions } from "./dial.ts";

/** Servers within reach, and what is believed of the ways to them. */
export interface Dialled {
  readonly endpoints: readonly Endpoint[];
  readonly links: ReadonlyMap<string, LinkLearner>;
}

/** Dials servers, each with a belief about the link to it. The tables of the belief are shared. */
export function dialAll(
  servers: readonly (string | ServerOptions)[],
  parts: { readonly clock: Clock; readonly random: Random; readonly observer: Observer },
): Dialled {
  const model = servers.length > 0 ? linkModel() : undefined;
  const links = new Map<string, LinkLearner>();
  const endpoints = servers.map((server) => {
    const info: EndpointInfo = serverInfo(server);
    const link = linkBelief(model ? { model } : {});
    links.set(info.id, link);
    const json = typeof server !== "string" && server.kind === "json";
    const dialParts = { ...parts, link, ...(json ? { wire: "json" as const } : {}) };
    return dial(info, dialParts, typeof server === "string" ? {} : server);
  });
  return { endpoints, links };
}
