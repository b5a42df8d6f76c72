import {
  type Directory,
  type EndpointInfo,
  type LinkBelief,
  type LinkModel,
  linkModel,
  type OffloadParts,
} from "@longshore/core";
import { dial, serverInfo } from "./dial.ts";
import type { ServerOptions } from "./server-options.ts";
import { type Dialling, diallingIn, endpointDialler, type EndpointParts } from "./directory.ts";
import { hintedLink, linkKey, rememberedOf } from "./hinted-link.ts";

/** Where requests may go besides here. */
export interface Reachable {
  readonly servers?: readonly (string | ServerOptions)[];
  readonly directory?: Directory;
  readonly dialling?: Dialling;
}

/**
 * Dials servers that are named, and those of a directory as they come, each with a belief about the link to it. The tables
 * of the belief are shared.
 */
export function dialAll(
  { servers = [], directory, dialling }: Reachable,
  parts: EndpointParts,
): Pick<OffloadParts, "endpoints" | "links" | "directory" | "dial"> {
  let model: LinkModel | undefined;
  const links = new Map<string, LinkBelief>();
  const keys = new Map<string, LinkBelief>();
  const endpoints = servers.map((server) => {
    const info: EndpointInfo = serverInfo(server);
    const options: Partial<ServerOptions> = typeof server === "string" ? {} : server;
    if (parts.linkBeliefs === false) return dial(info, parts, options);
    const memory = parts.beliefs?.link(linkKey(info));
    const link = hintedLink(
      (model ??= linkModel()),
      info.address ?? "",
      options.link,
      parts.linkHints,
      memory,
    );
    links.set(info.id, link);
    keys.set(linkKey(info), link);
    return dial(info, { ...parts, link }, options);
  });
  parts.beliefs?.follow(() => ({ links: rememberedOf(keys, parts.clock.nowMs()) }));
  if (!directory) return { endpoints, links: (id) => links.get(id) };
  const dialler = endpointDialler(parts, diallingIn(directory, dialling));
  return {
    endpoints,
    directory,
    dial: (info) => dialler.dial(info),
    links: (id) => links.get(id) ?? dialler.link(id),
  };
}
