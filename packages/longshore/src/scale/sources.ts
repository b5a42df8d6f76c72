import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { type Clock, LongshoreError, readBody, type Transport } from "@longshore/core";
import { housekeepingCall, withTime } from "@longshore/core/internal";
import { httpTransport } from "@longshore/nodejs";
import { joined } from "../pick/addresses.ts";
import { transportShown } from "../connect/server-tls.ts";
import type { ServerOptions } from "../connect/server-options.ts";

/** Reads the metrics of all processes behind some addresses. */
export interface Sources {
  /** The pages of those that answered, by address, and what went wrong with the others. */
  read(): Promise<{ readonly pages: ReadonlyMap<string, string>; readonly problems: readonly string[] }>;
  close(): Promise<void>;
}

const maxPageBytes = 64 * 2 ** 20;
/** Longest wait for one page. */
const mostMs = 2000;
/** Processes that are read at most. */
const mostSources = 256;

type LookUpAll = (name: string) => Promise<readonly string[]>;
const systemLookUp: LookUpAll = async (name) =>
  (await lookup(name, { all: true })).map(({ address }) => address);

/**
 * A name with several addresses stands for several processes, as that of a headless service does: each is read, and the sums are those of
 * all. Names are looked up at every reading.
 */
export function createSources(
  servers: readonly ServerOptions[],
  clock: Clock,
  lookUp: LookUpAll = systemLookUp,
): Sources {
  const transports = new Map<string, Transport>();

  const addressesOf = async ({ address }: ServerOptions): Promise<readonly string[]> => {
    const { protocol, hostname, port } = new URL(address);
    const host = hostname.replace(/^\[(.*)\]$/, "$1");
    if (isIP(host) !== 0) return [address];
    const found = await lookUp(host).catch((cause: unknown) => {
      throw new LongshoreError("unreachable", "transport", `${host} has no address`, { cause });
    });
    return found.map(
      (one) => `${protocol}//${joined(one, Number(port) || (protocol === "https:" ? 443 : 80))}`,
    );
  };

  const pageOf = async (address: string, server: ServerOptions): Promise<string> => {
    const { tls } = server;
    const named = { ...tls, serverName: tls?.serverName ?? new URL(server.address).hostname };
    const shown = transportShown({ ...server, tls: named });
    const transport = transports.get(address) ?? httpTransport({ address, clock, ...shown });
    transports.set(address, transport);
    const late = (): LongshoreError =>
      new LongshoreError("no-answer", "transport", `${address} did not answer within ${mostMs} ms`);
    using own = withTime(housekeepingCall("scale"), clock, mostMs, late);
    const body = { kind: "parts", parts: [] } as const;
    const reply = await transport.send({ method: "GET", path: "/metrics", headers: {}, body }, own.call);
    const bytes = await readBody(reply.body, { maxBytes: maxPageBytes });
    if (reply.status !== 200) {
      const refused = reply.status === 401 || reply.status === 403;
      const hint = refused ? ": give a credential with the right 'observe' (--at-key)" : "";
      throw new LongshoreError(
        "unreachable",
        "transport",
        `${address}/metrics answered ${reply.status}${hint}`,
      );
    }
    return new TextDecoder().decode(bytes);
  };

  return {
    async read() {
      const problems: string[] = [];
      const problem = (thrown: unknown): void =>
        void problems.push(LongshoreError.from(thrown, "transport", "reading metrics").message);
      const listed = await Promise.all(
        servers.map(async (server) => {
          try {
            return (await addressesOf(server)).map((address) => ({ address, server }));
          } catch (thrown) {
            problem(thrown);
            return [];
          }
        }),
      );
      const all = listed.flat().slice(0, mostSources);
      const pages = new Map<string, string>();
      await Promise.all(
        all.map(async ({ address, server }) => {
          try {
            pages.set(address, await pageOf(address, server));
          } catch (thrown) {
            problem(thrown);
          }
        }),
      );
      const now = new Set(all.map(({ address }) => address));
      for (const [address, transport] of transports) {
        if (now.has(address)) continue;
        transports.delete(address);
        await transport.close();
      }
      return { pages, problems };
    },
    async close() {
      for (const transport of transports.values()) await transport.close();
    },
  };
}
