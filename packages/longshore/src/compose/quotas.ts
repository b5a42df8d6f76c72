import { readFile } from "node:fs/promises";
import { type Clock, type Json, LongshoreError } from "@longshore/core";
import { askJson } from "@longshore/core/internal";
import { httpTransport, replaceFile } from "@longshore/nodejs";
import {
  type BudgetShelf,
  createQuotas,
  createAllowanceLeases,
  type AllowanceLeases,
  LeasedAllowances,
  type LeaseReply,
  LocalAllowances,
  type QuotaRules,
  type Quotas,
  type SpentMicros,
} from "@longshore/server";
import type { ServerOptions } from "../connect/server-options.ts";
import { transportShown } from "../connect/server-tls.ts";

/** Limits of tenants at a server or gateway. */
export interface QuotaOptions {
  /** Asked for each request: they may change while the server runs. */
  readonly rules: () => QuotaRules;
  /** File in which what was spent of a day's budget outlives a restart. Default: none does. */
  readonly keptIn?: string;
  /** The least cost of a request here, in micros. No request starts with less left of its budget. Default 0. */
  readonly leastMicros?: number;
  /** The server that has the allowances, of which this one leases. Default: they are this server's own. */
  readonly sharedAt?: Pick<ServerOptions, "address" | "credentials" | "tls">;
}

/** Limits with their parts. */
export interface OpenedQuotas {
  readonly quotas: Quotas;
  /** For gateways that lease; undefined where these limits are leased themselves. */
  readonly leases: AllowanceLeases | undefined;
  close(): Promise<void>;
}

interface QuotaParts {
  readonly clock: Clock;
  /** Name of this server, by which it leases. */
  readonly id: string;
  readonly weightOf?: (tenant: string) => number;
  readonly report: (text: string) => void;
}

/** Reads the amounts spent from a file. Throws `invalid-configuration` for a damaged file, which would lose those amounts. */
async function spentBefore(file: string): Promise<ReadonlyMap<string, SpentMicros>> {
  let text: string;
  try {
    text = await readFile(file, "utf8");
  } catch (thrown) {
    if (thrown instanceof Error && "code" in thrown && thrown.code === "ENOENT") return new Map();
    throw thrown;
  }
  try {
    const read = JSON.parse(text) as { schemaVersion: unknown; spent: Record<string, SpentMicros> };
    if (read.schemaVersion !== 1) throw new TypeError("another schemaVersion");
    return new Map(
      Object.entries(read.spent).map(([tenant, { day, micros }]) => {
        if (!Number.isSafeInteger(day) || !(micros >= 0)) throw new TypeError(`tenant ${tenant}`);
        return [tenant, { day, micros }];
      }),
    );
  } catch (cause) {
    const why = `the file of budgets '${file}' is damaged, and the amounts spent are unknown: mend or remove it`;
    throw new LongshoreError("invalid-configuration", "resolve", why, { cause });
  }
}

/** One writing at a time, and the last one last. */
function shelfOf(
  file: string,
  before: ReadonlyMap<string, SpentMicros>,
  report: QuotaParts["report"],
): BudgetShelf & { settled(): Promise<void> } {
  let next: ReadonlyMap<string, SpentMicros> | undefined;
  let writing: Promise<void> | undefined;
  const write = async (): Promise<void> => {
    while (next) {
      const text = JSON.stringify({ schemaVersion: 1, spent: Object.fromEntries(next) });
      next = undefined;
      try {
        await replaceFile(file, `${text}\n`);
      } catch (thrown) {
        const { message } = LongshoreError.from(thrown, "execute", "keeping budgets");
        report(`budgets: the amounts spent could not be written to ${file} (${message})`);
      }
    }
    writing = undefined;
  };
  return {
    before,
    save(spent) {
      next = spent;
      writing ??= write();
    },
    settled: () => writing ?? Promise.resolve(),
  };
}

function leased(
  sharedAt: NonNullable<QuotaOptions["sharedAt"]>,
  { id, clock }: QuotaParts,
): { readonly allowances: LeasedAllowances; close(): Promise<void> } {
  const { address } = sharedAt;
  const transport = httpTransport({ address, clock, ...transportShown(sharedAt) });
  const closing = new AbortController();
  const parts = { transport, clock, name: `the directory server at ${address}`, mostMs: 1000 };
  const ask = async (request: object): Promise<LeaseReply> => {
    const reply = await askJson(parts, "/v2/directory/lease", request as Json, closing.signal);
    const { granted } = reply as LeaseReply;
    if (granted === null || (typeof granted === "number" && granted >= 0)) return reply as LeaseReply;
    throw new LongshoreError("bad-reply", "transport", `${parts.name} leases '${String(granted)}'`);
  };
  const close = async (): Promise<void> => {
    allowances.close();
    closing.abort();
    await transport.close();
  };
  const allowances = new LeasedAllowances(id, ask, clock);
  return { allowances, close };
}

/** Opens limits of tenants. Throws `invalid-configuration` for a file of budgets that is damaged. */
export async function openQuotas(options: QuotaOptions, parts: QuotaParts): Promise<OpenedQuotas> {
  const { rules, keptIn, sharedAt, leastMicros = 0 } = options;
  const { clock, weightOf, report } = parts;
  const made = { clock, rules, leastMicros, ...(weightOf ? { weightOf } : {}) };
  if (sharedAt) {
    const { allowances, close } = leased(sharedAt, parts);
    return { quotas: createQuotas({ ...made, allowances }), leases: undefined, close };
  }
  const shelf = keptIn === undefined ? undefined : shelfOf(keptIn, await spentBefore(keptIn), report);
  const allowances = new LocalAllowances(rules, clock, shelf);
  const leases = createAllowanceLeases(allowances, clock);
  return {
    quotas: createQuotas({ ...made, allowances: leases.own }),
    leases,
    async close() {
      allowances.close();
      await shelf?.settled();
    },
  };
}
