import type { QuotaRules, TenantLimits } from "@longshore/server";
import type { QuotaOptions } from "../compose/quotas.ts";
import { LongshoreError } from "@longshore/core";
import { type DirectoryCommandOptions, sourceOptionsOf } from "../options/directory-options.ts";
import { shownOf } from "../options/connection-options.ts";
import type { OwnPriceOptions } from "../options/price-options.ts";
import type { LiveSettings } from "../settings/live-settings.ts";
import type { ObjectSchema, Schema } from "../settings/schema.ts";
import type { Settled } from "../settings/settled.ts";

const tenants = (properties: Readonly<Record<string, Schema>>): ObjectSchema => ({
  type: "object",
  description: 'Limits by tenant; "*" for each tenant that is not named.',
  propertyNames: {
    pattern: "^(\\*|[A-Za-z0-9][A-Za-z0-9._-]{0,63})$",
    title: 'a tenant ([A-Za-z0-9._-], 1 to 64) or "*"',
  },
  additionalProperties: { type: "object", additionalProperties: false, properties },
});

const amount = (description: string, title?: string): Schema => ({
  type: "number",
  minimum: 0,
  maximum: 1e15,
  description,
  ...(title === undefined ? {} : { title }),
});

const file = (description: string): Schema => ({ type: "string", minLength: 1, format: "path", description });

/** `quotas` of the file. */
export const quotasSchema: ObjectSchema = {
  type: "object",
  description:
    "Limits of tenants. A request above one is answered with 429 with the reason tenant-limit and Retry-After.",
  additionalProperties: false,
  properties: {
    concurrency: {
      type: "integer",
      minimum: 1,
      maximum: 1e6,
      description:
        "Requests of all tenants under way at one time; beyond, tenants take turns by their weight in identity.yaml.",
    },
    share: {
      type: "boolean",
      default: false,
      description:
        "Lease the limits of another gateway, which has limits of its own, so that gateways share them: of `from`, else of the directory server (directory.from).",
    },
    from: {
      type: "string",
      minLength: 1,
      pattern: "^https?://[^@]+$",
      title: "an address such as http://gateway-1:8000, without a password",
      description: "Gateway that leases its limits, with `share: true`. Default: directory.from.",
    },
    key: file("File with the API key or token for that gateway, which gives directory:join."),
    ca: file("Authorities of that gateway's certificate (PEM)."),
    tenants: tenants({
      requestsPerSecond: amount("Requests in a second, on average."),
      concurrency: {
        type: "integer",
        minimum: 1,
        maximum: 1e6,
        description: "Requests under way at one time.",
      },
      bytesPerSecond: amount("Bytes of requests and replies in a second, on average.", "bytes"),
      deviceSecondsPerMinute: amount("Seconds of run time in a minute, on average.", "seconds"),
    }),
  },
};

/** `budgets` of the file. */
export const budgetsSchema: ObjectSchema = {
  type: "object",
  description: "Budgets of tenants. Endpoints without a price are within no budget.",
  additionalProperties: false,
  properties: {
    keep: {
      type: "string",
      minLength: 1,
      format: "path",
      description: "File that keeps the amounts spent over a restart.",
    },
    tenants: tenants({ microsPerDay: amount("Micros from midnight to midnight, UTC.", "micros") }),
  },
};

interface Quotas {
  readonly concurrency?: number;
  readonly share?: boolean;
  readonly from?: string;
  readonly key?: string;
  readonly ca?: string;
  readonly tenants?: Readonly<Record<string, TenantLimits>>;
}

interface Budgets {
  readonly keep?: string;
  readonly tenants?: Readonly<Record<string, TenantLimits>>;
}

function sectionsOf({ file }: Settled): { readonly quotas: Quotas; readonly budgets: Budgets } {
  // The schema of the file has checked what these say.
  const quotas = file?.at("quotas") as Quotas | undefined;
  const budgets = file?.at("budgets") as Budgets | undefined;
  return { quotas: quotas ?? {}, budgets: budgets ?? {} };
}

/** The limits of both sections: a tenant that only one of them names has those for all others of the other. */
function rulesOf(settled: Settled): QuotaRules {
  const { quotas, budgets } = sectionsOf(settled);
  const [use = {}, money = {}] = [quotas.tenants, budgets.tenants];
  const names = new Set([...Object.keys(use), ...Object.keys(money)]);
  const merged = [...names].map((name): [string, TenantLimits] => [
    name,
    { ...(use[name] ?? use["*"]), ...(money[name] ?? money["*"]) },
  ]);
  return {
    tenants: Object.fromEntries(merged),
    ...(quotas.concurrency === undefined ? {} : { concurrency: quotas.concurrency }),
  };
}

/**
 * The limits of a server, as its settings say at each moment; none without a file that has such sections. Throws `invalid-configuration`
 * where limits are shared by a directory that cannot lease them.
 */
export async function quotaOptionsOf(
  live: LiveSettings,
  options: DirectoryCommandOptions & OwnPriceOptions,
): Promise<{ readonly quotas?: QuotaOptions }> {
  const settled = live.now();
  if (!settled.file) return {};
  const { quotas, budgets } = sectionsOf(settled);
  let rules = rulesOf(settled);
  live.follow((next) => void (rules = rulesOf(next)));
  const least = { leastMicros: options.pricePerRequest ?? 0 };
  const kept = budgets.keep === undefined ? {} : { keptIn: budgets.keep };
  const wrong = (key: string, why: string): LongshoreError =>
    new LongshoreError(
      "invalid-configuration",
      "resolve",
      `${settled.file?.where("quotas", key)}: quotas.${key} ${why}`,
    );
  if (quotas.share !== true) {
    if (quotas.from !== undefined) throw wrong("from", "goes with quotas.share: true");
    return { quotas: { rules: () => rules, ...least, ...kept } };
  }
  if (quotas.from !== undefined) {
    const shown = await shownOf("directory", {
      ...(quotas.key === undefined ? {} : { directoryKey: quotas.key }),
      ...(quotas.ca === undefined ? {} : { directoryCa: quotas.ca }),
    });
    return { quotas: { rules: () => rules, ...least, sharedAt: { address: quotas.from, ...shown } } };
  }
  const from = options.directory;
  if (from === undefined || !/^https?:/.test(from))
    throw wrong(
      "share",
      "needs the gateway that leases the limits: quotas.from, or a directory server at http or https (directory.from)",
    );
  const { credentials, tls } = await sourceOptionsOf(from, options);
  const sharedAt = { address: from, ...(credentials ? { credentials } : {}), ...(tls ? { tls } : {}) };
  return { quotas: { rules: () => rules, ...least, sharedAt } };
}
