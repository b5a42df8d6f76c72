import { LongshoreError } from "@longshore/core";
import * as v from "valibot";
import { parseDocument } from "yaml";
import { type CertificateRule, certificateSchema } from "./certificate.ts";
import type { MechanismName } from "./grant.ts";
import type { Right } from "./identity.ts";
import { withMeaning, badIdentity, checked, rightList, strictKeys, tenantName, wordKey } from "./schema.ts";
import { type TenantRules, tenantSchema } from "./tenants.ts";
import { type IssuerRule, issuerSchema } from "./token.ts";

/** All mechanisms, in the order in which they count while the operator states none: the hardest to steal first. */
const defaultOrder = ["certificates", "tokens", "keys", "loopback", "anonymous"] as const;

/** The grant of every sender that a mechanism without credentials lets in. */
export interface OpenRule {
  /** Default `local` for this machine, `anonymous` for others. */
  readonly tenant?: string | undefined;
  readonly rights: readonly Right[];
}

/** `identity.yaml`, checked. */
export interface IdentityConfiguration {
  /** Each mechanism that is configured, once. */
  readonly order: readonly MechanismName[];
  readonly certificates?: readonly CertificateRule[] | undefined;
  readonly tokens?: readonly IssuerRule[] | undefined;
  /** Files beside `identity.yaml`; the pepper is `<file>.pepper` by default. */
  readonly keys?: { readonly file: string; readonly pepper?: string | undefined } | undefined;
  readonly loopback?: OpenRule | undefined;
  readonly anonymous?: OpenRule | undefined;
  readonly tenants?: TenantRules | undefined;
  /** Credentials of one source that may fail in a minute. Default 30. */
  readonly failuresPerMinute?: number | undefined;
}

const open = strictKeys({ tenant: v.optional(tenantName), rights: rightList });

const schema = strictKeys({
  order: v.optional(
    withMeaning(
      "Mechanisms, the first that fits names the sender. Default: certificates, tokens, keys, loopback, anonymous.",
      v.array(v.picklist(defaultOrder, `must be one of ${defaultOrder.join(", ")}`)),
    ),
  ),
  certificates: v.optional(withMeaning("Client certificates.", v.array(certificateSchema))),
  tokens: v.optional(withMeaning("Token issuers.", v.array(issuerSchema))),
  keys: v.optional(
    withMeaning(
      "API keys.",
      strictKeys({
        file: withMeaning("File of `longshore keys add`.", wordKey),
        pepper: v.optional(withMeaning("File of the pepper. Default: `<file>.pepper`.", wordKey)),
      }),
    ),
  ),
  loopback: v.optional(withMeaning("Programs on this machine. Default: no rights.", open)),
  anonymous: v.optional(withMeaning("Senders without credentials. Default: no rights.", open)),
  tenants: v.optional(
    withMeaning(
      'Tenant to rules; `"*"` for all others. Default: any tenant.',
      v.record(v.union([v.literal("*"), tenantName]), tenantSchema),
    ),
  ),
  failuresPerMinute: v.optional(
    withMeaning(
      "Bad credentials of one source before it must wait. Default: 30.",
      v.pipe(v.number(), v.integer(), v.minValue(1), v.maxValue(100_000)),
    ),
  ),
});

/** The keys of `identity.yaml`, for the reference page that is made of them. */
export const identitySchema: v.GenericSchema = schema;

/** The largest file that is read, in characters. */
const maxLength = 1_000_000;

function plain(text: string): unknown {
  if (text.length > maxLength) throw badIdentity(`identity.yaml has more than ${maxLength} characters`);
  const document = parseDocument(text, { version: "1.2", schema: "core", uniqueKeys: true, merge: false });
  const [error] = document.errors;
  if (error) throw badIdentity(`identity.yaml is not valid YAML: ${error.message.split("\n")[0] ?? ""}`);
  return document.toJS({ maxAliasCount: 0 });
}

function orderOf(
  stated: readonly MechanismName[] | undefined,
  configured: (name: MechanismName) => boolean,
): readonly MechanismName[] {
  const there = defaultOrder.filter(configured);
  if (!stated) return there;
  const missing = there.filter((name) => !stated.includes(name));
  const extra = stated.filter((name, index) => !configured(name) || stated.indexOf(name) !== index);
  if (missing.length > 0 || extra.length > 0) {
    throw badIdentity(
      `identity.yaml: order must name each mechanism of the file once: ${there.join(", ") || "none"}`,
    );
  }
  return stated;
}

/**
 * Reads `identity.yaml`. Unknown keys are refused, so that a misspelt limit does not silently stay away. Throws
 * `invalid-configuration` with the path of what is wrong; `docs/reference/configuration.md` lists all keys.
 */
export function parseIdentity(text: string): IdentityConfiguration {
  let value: unknown;
  try {
    value = plain(text);
  } catch (thrown) {
    if (LongshoreError.is(thrown)) throw thrown;
    throw badIdentity("identity.yaml could not be read: aliases are not allowed", thrown);
  }
  const { order: stated, ...rest } = checked(schema, value, "identity.yaml");
  const order = orderOf(stated, (name) => rest[name] !== undefined);
  if (order.length === 0)
    throw badIdentity("identity.yaml names no mechanism, so no sender could be admitted");
  const issuers = (rest.tokens ?? []).map(({ issuer }) => issuer);
  const twice = issuers.find((one, at) => issuers.indexOf(one) !== at);
  if (twice !== undefined) {
    throw badIdentity(`identity.yaml: tokens name the issuer '${twice}' twice, and one line would not count`);
  }
  if (rest.tenants) checkTenants(rest, new Set(Object.keys(rest.tenants)));
  return { ...rest, order };
}

/** Refuses tenants that are named by a mechanism and then not listed: they could never get in. */
function checkTenants(
  { certificates, tokens, loopback, anonymous }: Omit<IdentityConfiguration, "order">,
  listed: ReadonlySet<string>,
): void {
  if (listed.has("*")) return;
  const named = [
    ...(certificates ?? []).map(({ tenant }) => tenant),
    ...(tokens ?? []).flatMap(({ tenant, subjects }) => [
      ...(typeof tenant === "string" ? [tenant] : []),
      ...(subjects ?? []).map((subject) => subject.tenant),
    ]),
    ...(loopback ? [loopback.tenant ?? "local"] : []),
    ...(anonymous ? [anonymous.tenant ?? "anonymous"] : []),
  ];
  const stray = named.find((tenant) => !listed.has(tenant));
  if (stray !== undefined) {
    throw badIdentity(`identity.yaml: tenant '${stray}' is used but not listed under tenants`);
  }
}
