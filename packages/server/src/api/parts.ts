import {
  type Call,
  type Clock,
  type CodecSet,
  defaultWireLimits,
  type Endpoint,
  type LoadReport,
  type Observer,
  observers,
  type Rules,
  seededRandom,
  type WireLimits,
  type WireRequest,
} from "@longshore/core";
import {
  type Crc32,
  createTableCrc32,
  type DirectoryApi,
  type KnownHeads,
  knownHeads,
  type Rollouts,
  type WrittenHeads,
  writtenHeads,
} from "@longshore/core/internal";
import { type Identify, type Identity, loopbackIdentity } from "../identify/index.ts";
import { createLife, type Life } from "../life/index.ts";
import { createTelemetry, type Telemetry } from "../telemetry/index.ts";
import { type BodyPool, type Budget, createBodyPool, createBudget } from "../body/index.ts";
import type { AllowanceLeases, Quotas } from "../quota/index.ts";
import { RequestHold, type HoldOptions } from "./request-hold.ts";
import type { PackageShelf } from "./package-shelf.ts";
import type { ServedRepository } from "./served-repository.ts";
import { type SharedMemory, SharedRegions } from "./shared-regions.ts";
import { type ReplyRate, replyRate } from "./reply-rate.ts";

/** Default number of bytes that are kept of a forwarded body. */
export const defaultMaxKeptBytes: number = 16 * 2 ** 20;

/** The parts of a server. Only the first five have no default. */
export interface HandlerParts {
  /** Runs the requests: an engine, or an offloader over several endpoints. Not owned. */
  readonly endpoint: Endpoint;
  /** For inputs that arrive coded. */
  readonly codecs: CodecSet;
  readonly clock: Clock;
  readonly observer: Observer;
  /** Models by name, their files, and loading. Default: the endpoint's models by name only. */
  readonly repository?: ServedRepository;
  /** Default: senders on this machine have all rights, others may infer whole models. */
  readonly identify?: Identify;
  /** Default: one that is ready at once. */
  readonly life?: Life;
  /**
   * Metrics, traces and logs. `observer` must reach its observer, as must the engine's; one that is not given is made
   * here, reached, and traces and logs nothing.
   */
  readonly telemetry?: Telemetry;
  /** The load for replies without an inference. Default: not reported. */
  readonly load?: () => LoadReport;
  /** Whether models may be loaded and unloaded over the network, by those with the right. Default false. */
  readonly modelControl?: boolean;
  /** Whether a request to load may bring the model's files along. Default false. */
  readonly modelUploads?: boolean;
  /**
   * Rules for requests that state none. Default: a data class `unknown`, which no policy knows, so such requests never
   * leave this endpoint for another.
   */
  readonly unstatedRules?: Rules;
  /** Origins of web pages that may use the server, or `*` for all; others are refused. Default: origins are not looked at. */
  readonly pages?: "*" | readonly string[];
  /** Whether the endpoints behind the server are available. If not, the server is not ready, whatever `life` says. Default: they are. */
  readonly available?: () => Promise<boolean>;
  /** How long requests with a deadline wait for a first server of their model. Default: not at all. */
  readonly hold?: HoldOptions;
  readonly limits?: WireLimits;
  /** Computes checksums of bodies for clients that state or request them. Default: in TypeScript; `zlib.crc32` is faster. */
  readonly crc32?: Crc32;
  /** Shared memory of this machine that local clients may use. Default none. */
  readonly sharedMemory?: SharedMemory;
  /** Request headers, by lower-case name, that go to the steps of the model as parameters. Default none. */
  readonly forwardHeaders?: RegExp;
  /** Model packages for download. Default: none. */
  readonly packages?: PackageShelf;
  /** The directory where endpoints register for others to read. Default: registration is not possible. */
  readonly directory?: DirectoryApi;
  /** Limits of tenants. Default: none. `observer` must reach its observer. */
  readonly quotas?: Quotas;
  /** The rule that keeps data from this server, if any. Default: all that a sender's policy lets go here is taken. */
  readonly accepts?: Accepts;
  /** Leases of these limits for gateways that share them. Default: none. */
  readonly leases?: AllowanceLeases;
  /** Aliases of models. Default: none. `endpoint` must know them, too. */
  readonly rollouts?: Rollouts;
  /** Bytes of all bodies that are being read or run at one time. Default 1 GiB. */
  readonly maxBufferedBytes?: number;
  /**
   * Bytes that are kept of a body that is forwarded while it arrives, so that it can be sent to another endpoint. Beyond this the beginning
   * is dropped, and no retry is possible. Default 16 MiB.
   */
  readonly maxKeptBytes?: number;
  /** Memory of large bodies that is kept for the next ones, in bytes. Default 64 MiB. */
  readonly maxSpareBytes?: number;
  /** Name in the reply to `GET v2`. Default `longshore` and `0.1.0`. */
  readonly name?: string;
  readonly version?: string;
}

/** Which requests are admitted, and which of their headers are passed on. */
export interface Access {
  readonly identify: Identify;
  readonly unstatedRules: Rules;
  readonly forwardHeaders: RegExp | undefined;
  readonly accepts: Accepts | undefined;
}

/** Whether the server is well, and how busy. */
export interface ServerHealth {
  readonly life: Life;
  readonly available: (() => Promise<boolean>) | undefined;
  readonly load: (() => LoadReport) | undefined;
}

/** How bodies are read and written, and in which memory. */
export interface Bodies {
  readonly limits: WireLimits;
  readonly crc32: Crc32;
  readonly budget: Budget;
  readonly pool: BodyPool;
  readonly maxKeptBytes: number;
  /** JSON before tensors that was read, and written, before. */
  readonly heads: KnownHeads;
  readonly written: WrittenHeads;
}

/** The codecs and shared memory regions of tensors. */
export interface TensorSources {
  readonly codecs: CodecSet;
  readonly regions: SharedRegions;
}

/** Files of models, and what may be done with them over the network. */
export interface Models {
  readonly repository: ServedRepository | undefined;
  readonly packages: PackageShelf | undefined;
  readonly rollouts: Rollouts | undefined;
  /** Loading and unloading are permitted. */
  readonly control: boolean;
  /** A request to load may bring files along. */
  readonly uploads: boolean;
}

/**
 * The rule that keeps data of a class of a tenant from this server; undefined when it may be processed here. The sender's policy has decided
 * that, too, but a proxy or picker before this server need not have kept to it.
 */
export type Accepts = (dataClass: string, tenant: string) => string | undefined;

/** Limits of tenants. */
export interface ApiLimits {
  readonly quotas: Quotas | undefined;
  readonly leases: AllowanceLeases | undefined;
}

/** The endpoint that the API serves, and the observers of its requests. */
export interface Served {
  readonly endpoint: Endpoint;
  readonly clock: Clock;
  readonly observer: Observer;
  readonly telemetry: Telemetry;
}

/** How requests come in and replies go out. */
export interface Exchanging {
  readonly access: Access;
  readonly bodies: Bodies;
  readonly tensors: TensorSources;
  readonly limits: ApiLimits;
  readonly hold: RequestHold | undefined;
  readonly rate: ReplyRate;
}

/** The state of the server, and what it serves besides inference. */
export interface ServerState {
  /** Content of the reply to `GET v2`. */
  readonly about: { readonly name: string; readonly version: string };
  readonly health: ServerHealth;
  readonly models: Models;
  readonly directory: DirectoryApi | undefined;
}

/** The parts that inference reads. */
export interface InferenceApi extends Served, Exchanging {}

/** The parts with their defaults. A function takes the part of them that it reads. */
export interface Api extends InferenceApi, ServerState {}

/** One request on its way through the API. */
export interface IncomingRequest {
  readonly request: WireRequest;
  readonly query: URLSearchParams;
  readonly identity: Identity;
  /** The call with ID, abort and tenant. Deadline, rules and path are added for requests that have them. */
  readonly call: Call;
  /** Acknowledges to the sender the bytes of the body that have arrived. */
  readonly received: ((bytes: number) => void) | undefined;
}

function readyLife(): Life {
  const life = createLife();
  life.ready();
  return life;
}

/** Fills in the defaults. */
export function completeParts(parts: HandlerParts): Api {
  const { clock, load } = parts;
  const own = (): Telemetry => createTelemetry({ clock, random: seededRandom(0), ...(load ? { load } : {}) });
  const telemetry = parts.telemetry ?? own();
  const life = parts.life ?? readyLife();
  return {
    endpoint: parts.endpoint,
    clock,
    rate: replyRate(clock),
    observer: parts.telemetry ? parts.observer : observers(telemetry.observer, parts.observer),
    telemetry,
    access: {
      identify: parts.identify ?? loopbackIdentity(),
      unstatedRules: parts.unstatedRules ?? { dataClass: "unknown", leastTrust: "none" },
      forwardHeaders: parts.forwardHeaders,
      accepts: parts.accepts,
    },
    health: { life, available: parts.available, load },
    bodies: {
      limits: parts.limits ?? defaultWireLimits,
      crc32: parts.crc32 ?? createTableCrc32(),
      budget: createBudget(parts.maxBufferedBytes ?? 2 ** 30),
      pool: createBodyPool(parts.maxSpareBytes ?? 64 * 2 ** 20),
      maxKeptBytes: parts.maxKeptBytes ?? defaultMaxKeptBytes,
      heads: knownHeads(),
      written: writtenHeads(),
    },
    tensors: { codecs: parts.codecs, regions: new SharedRegions(parts.sharedMemory) },
    models: {
      repository: parts.repository,
      packages: parts.packages,
      rollouts: parts.rollouts,
      control: parts.modelControl ?? false,
      uploads: parts.modelUploads ?? false,
    },
    directory: parts.directory,
    limits: { quotas: parts.quotas, leases: parts.leases },
    hold: parts.hold && new RequestHold(clock, parts.hold, () => life.state === "draining"),
    about: { name: parts.name ?? "longshore", version: parts.version ?? "0.1.0" },
  };
}
