import { crc32 } from "node:zlib";
import type { EndpointInfo, OipEndpointParts } from "@longshore/core";
import { httpTransport } from "@longshore/nodejs";
import { platformCodecs } from "../../engine/codecs.ts";
import { transportShown } from "../server-tls.ts";
import type { DialOptions, DialParts } from "../server-options.ts";

/** The parts of an endpoint of the Open Inference Protocol over HTTP, with or without the extension. */
export function overHttp(info: EndpointInfo, parts: DialParts, options: DialOptions): OipEndpointParts {
  const { clock, random, observer, link, codecs = platformCodecs() } = parts;
  const { forwardsTenants } = options;
  return {
    info,
    transport: httpTransport({ address: info.address ?? "", clock, ...transportShown(options) }),
    codecs,
    crc32,
    clock,
    random,
    observer,
    ...(link ? { link } : {}),
    ...(forwardsTenants === undefined ? {} : { forwardsTenants }),
  };
}
