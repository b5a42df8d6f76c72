import { type Json, LongshoreError, type WireResponse } from "@longshore/core";
import {
  type AliasReport,
  aliasJson,
  aliasName,
  askedChangeFrom,
  type Rollouts,
  type Route,
} from "@longshore/core/internal";
import { unknownModel } from "./find-model.ts";
import type { IncomingRequest, Served, ServerState } from "./parts.ts";
import { jsonReply, requestObject } from "./replies.ts";

/** The most bytes of a change. */
const maxChangeBytes = 65_536;

function reportJson({ alias, figures }: AliasReport): Json {
  // Figures are plain data.
  return { alias: aliasJson(alias), figures: (figures ?? null) as unknown as Json };
}

/** `GET v2/rollouts`, `GET v2/rollouts/{alias}` and `POST v2/rollouts/{alias}`, if this server has aliases. */
export async function rollouts(
  api: Served & ServerState,
  route: Route & { kind: "rollouts" | "rollout" | "rollout-change" },
  incoming: IncomingRequest,
): Promise<WireResponse> {
  const own = api.models.rollouts;
  if (!own) throw new LongshoreError("unknown-route", "admission", "this server has no aliases");
  if (route.kind === "rollouts") return jsonReply({ aliases: seen(own, incoming).map(reportJson) });
  if (route.kind === "rollout-change") {
    if (!api.models.control) {
      throw new LongshoreError(
        "not-permitted",
        "admission",
        "changing aliases is switched off on this server",
      );
    }
    const name = aliasName(route.model);
    const change = askedChangeFrom(await requestObject(incoming, maxChangeBytes), "change");
    const known = await api.endpoint.describe(name, undefined, incoming.call);
    if (known && !own.find(name)) {
      throw new LongshoreError(
        "invalid-input",
        "admission",
        `${name} is the name of a model here, and cannot lead to another`,
      );
    }
    const { tenant, sees } = incoming.identity;
    const alias = await own.change(name, change, tenant, sees);
    return jsonReply({ alias: alias ? aliasJson(alias) : null });
  }
  const report = seen(own, incoming).find(({ alias }) => alias.name === route.model);
  if (!report) throw unknownModel(route.model);
  return jsonReply(reportJson(report));
}

function seen(own: Rollouts, { identity }: IncomingRequest): readonly AliasReport[] {
  return own.list().filter(({ alias }) => identity.sees?.(alias.name) !== false);
}
