import { mostPrice } from "@longshore/core/internal";
import type { Command } from "commander";
import { kindNames, kindProducts, kindSettings, usualKind } from "../connect/kinds/list.ts";
import { optionSchema } from "./option-schema.ts";
import { carbonSchema } from "./carbon-settings.ts";
import { policyKeys } from "./policy-settings.ts";
import { budgetsSchema, quotasSchema } from "./quota-settings.ts";
import type { ObjectSchema, Schema } from "../settings/schema.ts";
import { type Section, sections } from "./settings.ts";

const price: Schema = { type: "number", minimum: 0, maximum: mostPrice, title: "micros" };
const file = (description: string): Schema => ({ type: "string", minLength: 1, format: "path", description });
const text = (description: string, usual?: string): Schema => ({
  type: "string",
  minLength: 1,
  description,
  ...(usual === undefined ? {} : { default: usual }),
});

const trust: Schema = {
  type: "string",
  enum: ["listed", "operated", "vouched"],
  default: "listed",
  description: "How far the endpoint is trusted.",
};

const address: Schema = {
  type: "string",
  pattern: "^https?://[^\\s/@]+(/.*)?$",
  title: "an address such as http://10.0.0.7:8000, without a password",
  description: "Where it is: http://host:port or https://host:port.",
};

/** An entry of `endpoints`: the options that `--at-...` sets for all servers, for one of them. */
const endpointSchema: ObjectSchema = {
  type: "object",
  additionalProperties: false,
  required: ["address"],
  properties: {
    address,
    id: text("Its name. Default: the address without its scheme."),
    tier: { type: "string", enum: ["device", "edge", "cloud"], default: "edge", description: "Its tier." },
    zone: text("Zone in which it processes.", "unknown"),
    trust,
    kind: {
      type: "string",
      enum: kindNames,
      default: usualKind,
      description: `Its protocol; ${kindProducts}.`,
    },
    ...(kindSettings.length === 0
      ? {}
      : { settings: { anyOf: kindSettings, description: "Settings that only its kind has." } }),
    tenants: { type: "boolean", default: false, description: "Tell it the tenant of each request." },
    metrics: text("Metrics address of kind oip or json: :8002, a URL, or none."),
    grpc: text("gRPC address of kind oip or json: :8001 or a URL."),
    key: file("File with the API key or token for this endpoint, shown to no other."),
    ca: file("Authorities (PEM) that sign it. Default: the system's."),
    cert: file("Client certificate (PEM) for it."),
    certKey: file("Key (PEM) of that client certificate."),
    overPlainHttp: {
      type: "boolean",
      default: false,
      description: "Send the key also without TLS, where a mesh or the network protects it.",
    },
    activeWatts: {
      type: "number",
      minimum: 0,
      title: "watts",
      description:
        "The least that a run there draws above idle, for its energy and CO2. Default: what it says itself.",
    },
    prices: {
      type: "object",
      description:
        "The least that a request to it costs, in micros. Default: unknown, within no limit on cost.",
      additionalProperties: false,
      properties: {
        perSecond: price,
        perRequest: price,
        perMegabyte: price,
        perMegabyteIn: price,
        perMegabyteOut: price,
        perJoule: price,
      },
    },
  },
};

/** Keys that no option has, by section. */
const furtherKeys: Readonly<Record<string, Readonly<Record<string, Schema>>>> = {
  policy: policyKeys,
  models: {
    repository: {
      type: "string",
      minLength: 1,
      format: "path",
      description: "Folder of models, one model folder, or an .onnx file.",
    },
  },
};

/** Sections that are not made of options. */
const furtherSections: Readonly<Record<string, Schema>> = {
  endpoints: { type: "array", items: endpointSchema, description: "Endpoints to consider." },
  quotas: quotasSchema,
  budgets: budgetsSchema,
  carbon: carbonSchema,
};

function sectionSchema(name: string, { about, options }: Section, commands: readonly Command[]): Schema {
  const own = Object.entries(options).flatMap(([key, attribute]): [string, Schema][] => {
    const schema = optionSchema(commands, attribute);
    return schema ? [[key, schema]] : [];
  });
  return {
    type: "object",
    description: about,
    additionalProperties: false,
    properties: { ...furtherKeys[name], ...Object.fromEntries(own) },
  };
}

/** The schema of `longshore.yaml`, made of the options of `serve` and `gateway`. */
export function fileSchema(commands: readonly Command[]): ObjectSchema {
  const made = Object.entries(sections).map(([name, section]): [string, Schema] => [
    name,
    sectionSchema(name, section, commands),
  ]);
  return {
    type: "object",
    additionalProperties: false,
    properties: { ...Object.fromEntries(made), ...furtherSections },
  };
}
