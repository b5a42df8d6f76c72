import { LongshoreError } from "@longshore/core";
import { locatedYaml } from "@longshore/nodejs";
import type { QuotaRules } from "@longshore/server";
import { type ObjectSchema, pathText, problemOf, type Schema } from "../settings/schema.ts";

const amount: Schema = { type: "number", minimum: 0, maximum: 1e15, description: "On average, in a second." };

/** A proxy does not tell how a request ended, so only what is known at its beginning can be limited. */
const schema: ObjectSchema = {
  type: "object",
  description: "Limits of tenants.",
  required: ["tenants"],
  additionalProperties: false,
  properties: {
    tenants: {
      type: "object",
      description: 'Limits by tenant; "*" for each tenant that is not named.',
      propertyNames: {
        pattern: "^(\\*|[A-Za-z0-9][A-Za-z0-9._-]{0,63})$",
        title: 'a tenant ([A-Za-z0-9._-], 1 to 64) or "*"',
      },
      additionalProperties: {
        type: "object",
        additionalProperties: false,
        properties: { requestsPerSecond: amount, bytesPerSecond: amount },
      },
    },
  },
};

/** Limits of servers and gateways that need to know how a request ended. */
const ofServers: ReadonlySet<string> = new Set(["concurrency", "deviceSecondsPerMinute", "microsPerDay"]);

/** Reads a file of limits. Throws `invalid-configuration` with file and line for what is wrong. */
export function parseLimits(text: string, file: string): QuotaRules {
  const read = locatedYaml(text, file);
  const problem = problemOf(schema, read.value ?? null, []);
  if (problem) {
    const { path, message } = problem;
    const what = path.length === 0 ? "the file" : pathText(path);
    const hint = ofServers.has(String(path.at(-1)))
      ? "; a proxy does not tell how a request ended, so state this limit at the servers or a gateway behind it"
      : "";
    const why = `${file}:${read.lineOf(path)}: ${what} ${message}${hint}`;
    throw new LongshoreError("invalid-configuration", "resolve", why);
  }
  // The schema has checked it.
  return read.value as QuotaRules;
}
