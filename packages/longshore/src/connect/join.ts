import { hostname } from "node:os";
import {
  type Clock,
  type DirectoryEntry,
  LongshoreError,
  type Random,
  type Signed,
  type Statement,
  type Tier,
  type Transport,
} from "@longshore/core";
import {
  housekeepingCall,
  joinDirectory,
  type JoinReply,
  type Registration,
  randomId,
} from "@longshore/core/internal";
import { httpTransport, operatorRing } from "@longshore/nodejs";
import type { ServerOptions } from "./server-options.ts";
import { isNats, natsDirectoryServer } from "./nats-directory.ts";
import { transportShown } from "./server-tls.ts";
import type { DirectoryOpening } from "./directory.ts";
import type { OnlineEndpoint } from "./online-endpoint.ts";

/** A directory that a server joins. */
export interface JoinOptions {
  /** `http://host:port` of the server that keeps it, or `nats:HOST[:PORT][/BUCKET]`, which needs the package `@longshore/nats`. */
  readonly address: string;
  /** How others reach this server. Default: where it listens, unless that is every address. */
  readonly advertise?: string;
  /** The operator's entry, for a directory that does not have it; a function is called at each renewal. */
  readonly entry?: Signed<DirectoryEntry> | (() => Promise<Signed<DirectoryEntry>>);
  /** Public keys of the operator, which entries in NATS must be signed with. A directory server checks them itself. */
  readonly operatorKeys?: string;
  /** The credentials for the directory server. */
  readonly credentials?: ServerOptions["credentials"];
  readonly tls?: ServerOptions["tls"];
  /** Told what the directory answered. */
  readonly answered?: (reply: JoinReply) => void;
}

/** The parts of a joining server. */
interface Joining {
  readonly id: string;
  readonly tier: Tier;
  readonly zone: string;
  readonly served: Pick<OnlineEndpoint, "endpoint" | "repository" | "pending" | "answered">;
  /** How others reach it. */
  readonly address: string;
}

/**
 * The name of a server in a directory, where the operator gives none: that of the machine, and the port, so that it is the
 * same after a restart. A port that is picked when it listens is not known yet, so it is random.
 */
export function endpointName(random: Random, port = 8000): string {
  const last = port === 0 ? letters(random) : String(port);
  return `${hostname().replaceAll(/[^A-Za-z0-9._-]/g, "-")}-${last}`;
}

/** The name of a server that joins nothing. Machines are alike, and so are ports: chance tells them apart. */
export function serverName(tier: Tier, random: Random, port = 8000): string {
  return `${tier}-${port === 0 ? "" : `${port}-`}${letters(random)}`;
}

const letters = (random: Random): string => randomId(random).slice(0, 8);

/** The address at which others reach a server that listens on an address. Throws `invalid-configuration` when there is none. */
export function reachable({ advertise }: JoinOptions, address: string): string {
  if (advertise !== undefined) return advertise;
  if (!/\/\/(0\.0\.0\.0|\[::\])(:|$)/.test(address)) return address;
  throw new LongshoreError(
    "invalid-configuration",
    "resolve",
    `others cannot reach ${address}: say with --advertise how they do`,
  );
}

/** The models that can be requested now; undefined if that is unknown. */
async function served({ endpoint, repository, pending }: Joining["served"]): Promise<Statement["serves"]> {
  const call = housekeepingCall("join");
  const listed = repository ? await repository.index(call) : await endpoint.capabilities.models?.(call);
  const names = listed?.filter(({ state }) => state === "READY").map(({ name }) => name);
  return (
    names &&
    [...new Set(names)]
      .filter((model) => pending?.has(model) !== true)
      .map((model) => ({ segment: { model } }))
  );
}

/**
 * How long the connection to a directory server is kept, in milliseconds: over the pauses between renewals, so that its end tells that the
 * directory server ended, and shorter than Longshore servers keep theirs.
 */
const keepAliveMs = 25_000;

/**
 * How the directory server of a directory is reached; nothing is connected yet. Throws `invalid-configuration` for an address that is none
 * and for credentials that are not to be sent there.
 */
export async function openJoin(
  { address, credentials, tls, operatorKeys }: JoinOptions,
  clock: Clock,
): Promise<Transport> {
  const shown = { ...(credentials ? { credentials } : {}), ...(tls ? { tls } : {}) };
  if (isNats(address)) {
    const keys = operatorKeys === undefined ? {} : { ring: operatorRing(operatorKeys) };
    return natsDirectoryServer(address, { ...shown, ...keys });
  }
  return httpTransport({ address, clock, keepAliveMs, ...transportShown({ credentials, tls }) });
}

/** Joins a directory over a transport, and stays until it is disposed, which closes the transport. */
export function joinAs(
  options: JoinOptions,
  transport: Transport,
  joining: Joining,
  parts: DirectoryOpening,
): Registration {
  const { id, tier, zone, address } = joining;
  const { entry, answered } = options;
  const membership = joinDirectory({
    ...parts,
    transport,
    name: options.address,
    id,
    request: async () => {
      const serves = await served(joining.served);
      return {
        tier,
        statement: { address, zone, ...(serves ? { serves } : {}) },
        ...(entry ? { signed: typeof entry === "function" ? await entry() : entry } : {}),
      };
    },
    answered(reply) {
      joining.served.answered?.(reply);
      answered?.(reply);
    },
  });
  return {
    renew: () => membership.renew(),
    async [Symbol.asyncDispose]() {
      await membership[Symbol.asyncDispose]();
      await transport.close();
    },
  };
}

/** How long endpoints that read a directory may take to hear that one left, in milliseconds. */
const leaveNoticeMs = 2500;

/**
 * Leaves a directory, and gives readers of this endpoint's entry the time to learn that it goes; no longer than until `over`.
 */
export async function leave(membership: AsyncDisposable, clock: Clock, over: Promise<void>): Promise<void> {
  const heard = membership[Symbol.asyncDispose]().then(
    () => new Promise<void>((resolve) => void clock.timer(leaveNoticeMs, resolve)),
  );
  await Promise.race([heard, over]);
}
