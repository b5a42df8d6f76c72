import { type Endpoint, type EndpointInfo, LongshoreError } from "@longshore/core";
import { kindFacts, ratesOf } from "@longshore/core/internal";
import { platformCodecs } from "../engine/codecs.ts";
import { type ObjectSchema, pathText, type Problem, problemOf } from "../settings/schema.ts";
import { type EndpointKinds, endpointKinds, kindOf } from "./kinds/list.ts";
import type { DialOptions, DialParts, ServerOptions } from "./server-options.ts";

/** Checks the settings of an endpoint by the schema of its kind, and returns the first problem. */
function wrongIn({ settings }: EndpointInfo, known: ObjectSchema | undefined): Problem | undefined {
  if (known) return problemOf(known, settings ?? {}, ["settings"]);
  return settings && { path: ["settings"], message: "has nothing to say: leave it out" };
}

/** The endpoint information that follows from what is said of a server. */
export function serverInfo(server: string | ServerOptions): EndpointInfo {
  const options = typeof server === "string" ? { address: server } : server;
  // A program without types may still pass it.
  if ((options.trust as string | undefined) === "attested") {
    const why = `server ${options.address}: trust is 'attested', which nothing here verifies; an operator may state none, listed, operated or vouched`;
    throw new LongshoreError("invalid-configuration", "resolve", why);
  }
  const facts = kindFacts(options.kind, [...platformCodecs().keys()]);
  return {
    id: options.id ?? options.address.replace(/^https?:\/\//, ""),
    tier: options.tier ?? "edge",
    zone: options.zone ?? "unknown",
    trust: options.trust ?? "listed",
    address: options.address,
    ...(options.serves ? { serves: options.serves } : {}),
    ...facts,
    ...(options.settings ? { settings: options.settings } : {}),
    rates: ratesOf(options, `server ${options.address}`),
    ...kindOf(facts.kind).read?.(options),
  };
}

/**
 * An endpoint over the network, as its kind dials it. Closing it closes its connections. Throws `invalid-configuration` for an unknown kind
 * and for settings that the kind does not have, and a `LongshoreError` for all else that its kind throws.
 */
export function dial(
  info: EndpointInfo,
  parts: DialParts,
  options: DialOptions = {},
  kinds: EndpointKinds = endpointKinds,
): Endpoint {
  try {
    const kind = kindOf(info.kind, kinds);
    const wrong = wrongIn(info, kind.settings);
    if (wrong) {
      const why = `${pathText(wrong.path)} of ${info.id}, which is of kind ${kind.kind}, ${wrong.message}`;
      throw new LongshoreError("invalid-configuration", "resolve", why);
    }
    return kind.dial(info, parts, options);
  } catch (thrown) {
    throw LongshoreError.from(thrown, "resolve", `dialling ${info.id}`);
  }
}
