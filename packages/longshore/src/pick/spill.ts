import { type EndpointId, LongshoreError, type TrustLevel } from "@longshore/core";
import type { StatedRates } from "@longshore/core/internal";
import { kindNames } from "../connect/kinds/list.ts";
import type { ServerOptions } from "../connect/server-options.ts";
import { readTextFile } from "../connect/read-text.ts";
import { ratesIn } from "../options/price-options.ts";

/** Endpoints outside the pool, which get a request that no endpoint of the pool may take. */
export type SpillTarget =
  | { readonly kind: "server"; readonly server: ServerOptions }
  | {
      readonly kind: "pool";
      /** `NAMESPACE/NAME`. */
      readonly pool: string;
      readonly trust: NonNullable<ServerOptions["trust"]>;
      readonly zone: string | undefined;
      readonly serverKind: ServerOptions["kind"];
      /** Least prices of each pod; undefined: unknown. */
      readonly rates: StatedRates | undefined;
      readonly shown: Pick<ServerOptions, "credentials" | "tls">;
    }
  | { readonly kind: "directory"; readonly from: string };

const trusts = ["listed", "operated", "vouched"] as const satisfies readonly TrustLevel[];
const tiers = ["device", "edge", "cloud"] as const;

const ofServers = ["zone", "trust", "tier", "kind", "key", "ca", "metrics", "id"];
const ofPools = ["zone", "trust", "kind", "key", "ca"];

function refused(why: string): LongshoreError {
  return new LongshoreError("invalid-input", "resolve", why);
}

function oneOf<T extends string>(all: readonly T[], key: string, text: string | undefined): T | undefined {
  if (text === undefined) return undefined;
  const found = all.find((one) => one === text);
  if (found === undefined) throw refused(`--spill: ${key} is ${all.join(", ")}, not '${text.slice(0, 40)}'`);
  return found;
}

/** The properties after the address. Prices are left. */
function propertiesOf(parts: readonly string[], allowed: readonly string[], hasPrices: boolean) {
  const values = new Map<string, string>();
  const prices: string[] = [];
  for (const part of parts) {
    const at = part.indexOf("=");
    const key = part.slice(0, Math.max(0, at));
    if (hasPrices && key.startsWith("per-")) prices.push(part);
    else if (!allowed.includes(key)) {
      const known = allowed.length === 0 ? "nothing else" : allowed.join(", ");
      throw refused(`--spill: '${part.slice(0, 60)}' is not known here; it takes ${known}`);
    } else if (values.has(key)) throw refused(`--spill states ${key} twice`);
    else values.set(key, part.slice(at + 1));
  }
  return { values, prices };
}

async function shownIn(
  values: ReadonlyMap<string, string>,
): Promise<Pick<ServerOptions, "credentials" | "tls">> {
  const [key, ca] = [values.get("key"), values.get("ca")];
  return {
    ...(key === undefined
      ? {}
      : { credentials: { bearer: (await readTextFile(key, "the key of --spill")).trim() } }),
    ...(ca === undefined
      ? {}
      : { tls: { authorities: await readTextFile(ca, "the authorities of --spill") } }),
  };
}

/** Reads `--spill`: `URL[,zone=...]`, `pool:NAMESPACE/NAME[,...]` or `directory:WHERE`. Throws `invalid-input`. */
export async function spillTarget(text: string): Promise<SpillTarget> {
  const [where = "", ...parts] = text.split(",").map((part) => part.trim());
  if (where.startsWith("directory:")) {
    propertiesOf(parts, [], false);
    return { kind: "directory", from: where.slice("directory:".length) };
  }
  const isPool = where.startsWith("pool:");
  if (!isPool && !/^https?:\/\/[^/]/.test(where)) {
    throw refused(
      `--spill wants an address such as https://cloud.example:8000, pool:NAMESPACE/NAME or directory:WHERE, not '${where.slice(0, 60)}'`,
    );
  }
  const { values, prices } = propertiesOf(parts, isPool ? ofPools : ofServers, true);
  const trust = oneOf(trusts, "trust", values.get("trust")) ?? "listed";
  const kind = oneOf(kindNames, "kind", values.get("kind"));
  const zone = values.get("zone");
  const shown = await shownIn(values);
  const rates: StatedRates | undefined = prices.length === 0 ? undefined : ratesIn(prices, "--spill");
  if (isPool) {
    return { kind: "pool", pool: where.slice("pool:".length), trust, zone, serverKind: kind, rates, shown };
  }
  const [id, metrics] = [values.get("id"), values.get("metrics")];
  return {
    kind: "server",
    server: {
      address: where,
      tier: oneOf(tiers, "tier", values.get("tier")) ?? "cloud",
      zone: zone ?? "unknown",
      trust,
      ...(kind === undefined ? {} : { kind }),
      ...(id === undefined ? {} : { id }),
      ...(metrics === undefined ? {} : { metrics }),
      ...shown,
      ...rates,
    },
  };
}

/** The ID of a server that is named by its address. */
export function serverId({ id, address }: ServerOptions): EndpointId {
  return id ?? address.replace(/^https?:\/\//, "");
}
