import {
  type Call,
  type Endpoint,
  endCut,
  type Features,
  LongshoreError,
  type ModelKnowledge,
  startCut,
  type WireResponse,
} from "@longshore/core";
import { type Explanation, type ModelAddress, mostMissing, offerJson } from "@longshore/core/internal";
import { fullConfiguration } from "./configuration.ts";
import { findModel, findVariant } from "./find-model.ts";
import { arrivedCall } from "./infer/index.ts";
import type { IncomingRequest, InferenceApi, Served, ServerState } from "./parts.ts";
import { jsonReply } from "./replies.ts";

/** The value of a key in a query; undefined if it is missing. Throws `invalid-input` if the value is not `what` or occurs twice. */
function said(query: URLSearchParams, key: string, form: RegExp, what: string): string | undefined {
  const texts = query.getAll(key);
  if (texts.length > 1 || texts.some((text) => !form.test(text))) {
    throw new LongshoreError("invalid-input", "admission", `the query's '${key}' must be ${what}, once`);
  }
  return texts[0];
}

function figure(query: URLSearchParams, key: string): number | undefined {
  const text = said(query, key, /^[0-9]{1,15}(\.[0-9]{1,9})?$/, "a number of 0 or more");
  return text === undefined ? undefined : Number(text);
}

const isWanted = (query: URLSearchParams, key: string): boolean =>
  said(query, key, /^[01]$/, "0 or 1") !== "0";

function featuresOf(query: URLSearchParams): Features | undefined {
  const bytes = figure(query, "bytes");
  const size = figure(query, "size");
  const items = figure(query, "items");
  if (bytes === undefined && size === undefined && items === undefined) return undefined;
  return {
    bytes: bytes ?? 0,
    ...(size === undefined ? {} : { size }),
    ...(items === undefined ? {} : { items }),
  };
}

/**
 * `GET v2/models/{m}[/versions/{v}]/offers`: all that another endpoint needs to plan with this one. `knowledge=0` leaves
 * out description and profile, `offers=0` the offers; `bytes`, `size` and `items` state the input's features.
 */
export async function modelOffers(
  api: Served & ServerState,
  route: ModelAddress,
  incoming: IncomingRequest,
): Promise<WireResponse> {
  const { query, call } = incoming;
  const wanted = { knowledge: isWanted(query, "knowledge"), offers: isWanted(query, "offers") };
  const features = featuresOf(query);
  const knowledge = await findModel(api, route.model, route.version, call);
  const { name: model, version } = knowledge.description;
  const asked = { model, version, ...(features ? { features } : {}) };
  const offers = wanted.offers ? await api.endpoint.offers(asked, call) : [];
  const missing = wanted.offers ? (api.endpoint.capabilities.missing?.(asked, call) ?? []) : [];
  const nowMs = api.clock.nowMs();
  return jsonReply({
    schemaVersion: 1,
    ...(wanted.knowledge ? await knowledgeJson(api, knowledge, call) : {}),
    ...(wanted.offers ? { offers: offers.map((offer) => offerJson(offer, nowMs)) } : {}),
    ...(missing.length > 0 ? { missing: missing.slice(0, mostMissing) } : {}),
  });
}

/** The knowledge about a model. A server that has the model's files adds the whole configuration, for gateways to show. */
async function knowledgeJson(
  api: ServerState,
  knowledge: ModelKnowledge,
  call: Call,
): Promise<ModelKnowledge> {
  if (!api.models.repository?.configuration) return knowledge;
  return { ...knowledge, configuration: await fullConfiguration(api, knowledge, call) };
}

/** The explanation of a server that runs every request itself: there is one leg, and nothing was compared. */
function ownExplanation({ info }: Endpoint, knowledge: ModelKnowledge): Explanation {
  const { name: model, version, digest } = knowledge.description;
  const variant = findVariant(knowledge, undefined).name;
  const segment = { model, version, digest, variant, from: startCut, to: endCut };
  const because = "this server runs every request itself, so no other endpoint was compared";
  return { legs: [{ endpoint: info.id, segment }], because, lost: [] };
}

/**
 * `GET v2/models/{m}[/versions/{v}]/explain`: where a request would run under the rules in its headers, and why not elsewhere. `bytes`,
 * `size` and `items` state the input's features. A server that runs every request itself names itself.
 */
export async function explain(
  api: InferenceApi,
  route: ModelAddress,
  incoming: IncomingRequest,
): Promise<WireResponse> {
  const features = featuresOf(incoming.query);
  const call = arrivedCall(api, incoming);
  const found = await findModel(api, route.model, route.version, call);
  const { description } = found;
  const tell = api.endpoint.capabilities.explain;
  if (!tell) return jsonReply({ schemaVersion: 1, ...ownExplanation(api.endpoint, found) });
  const query = { model: description.name, version: description.version, ...(features ? { features } : {}) };
  return jsonReply({ schemaVersion: 1, ...(await tell(query, call)) });
}
