import {
  type Clock,
  defaultWireLimits,
  type Directory,
  type EndpointId,
  type EndpointInfo,
  type Handler,
  type KeptDirectory,
  LongshoreError,
  type Observer,
  type Random,
  silentObserver,
  standardPolicy,
} from "@longshore/core";
import {
  checkDataClass,
  createPicker,
  type EndpointPicker,
  housekeepingCall,
  parseRoute,
  randomId,
  type Route,
} from "@longshore/core/internal";
import {
  accessLog,
  endpointDiscovery,
  externalProcessor,
  type GrpcListening,
  listenGrpc,
} from "@longshore/grpc";
import { keepYoung, systemClock, systemRandom } from "@longshore/nodejs";
import { directSocket, listen, type Listening } from "@longshore/server";
import { dialAll } from "../connect/dial-all.ts";
import type { DialOptions, ServerOptions } from "../connect/server-options.ts";
import { isLoopbackHost } from "../compose/listeners.ts";
import { type Dialling, openDirectory, openUnsigned, unionOf } from "../connect/directory.ts";
import { kubernetesPool, type PoolState } from "../connect/kubernetes-directory.ts";
import { readTextFile } from "../connect/read-text.ts";
import { type AboutServers, serversAt } from "../options/at-options.ts";
import { atPricesOf } from "../options/price-options.ts";
import { shownOf } from "../options/connection-options.ts";
import { type DirectoryCommandOptions, directoryOf } from "../options/directory-options.ts";
import { type CommandIo, type ExitCode, logged, stopped } from "../options/io.ts";
import {
  createAddresses,
  grpcHostAndPort,
  type HostAndPort,
  hostAndPort,
  systemLookUp,
} from "./addresses.ts";
import { discoveredEndpoints } from "./discovered.ts";
import { envoyConfiguration, type EnvoyOptions } from "./envoy.ts";
import { loggedRequests } from "./logged-requests.ts";
import { pickMetrics, type PickMetrics } from "./metrics.ts";
import { pickProcessor } from "./processor.ts";
import { serverId, spillTarget } from "./spill.ts";
import { isEncrypted, pickTls, type PickTlsOptions } from "./tls.ts";

/** Options of `longshore pick`. */
export interface PickOptions extends AboutServers, DirectoryCommandOptions, PickTlsOptions {
  /** `NAMESPACE/NAME` of an InferencePool. */
  readonly pool?: string;
  readonly port: number;
  readonly spill: readonly string[];
  /** `:PORT` of each server's host where it speaks gRPC. */
  readonly atGrpc?: string;
  readonly mostInFlight?: number;
  readonly drainSeconds: number;
  /** Port of the picker's own metrics and health over HTTP. */
  readonly metricsPort?: number;
  readonly printEnvoy: boolean;
  readonly envoyHost: string;
  readonly envoyPort: number;
  readonly picker: readonly string[];
  readonly failOpen: boolean;
  readonly authz?: string;
  readonly json: boolean;
}

/** A message is the headers of a request, or a piece of a body on its way back. */
const mostMessageBytes = 4 * 2 ** 20;

function refused(why: string): LongshoreError {
  return new LongshoreError("invalid-input", "resolve", why);
}

function addressIn(text: string, option: string): { readonly host: string; readonly port: number } {
  const [, bracketed, plain, digits] = /^(?:\[([^\]]+)\]|([^:\s]+)):(\d{1,5})$/.exec(text) ?? [];
  const name = bracketed ?? plain;
  const number = Number(digits);
  if (name === undefined || !(number > 0 && number < 65_536)) {
    throw refused(`${option} wants host:port, such as 10.0.0.4:9002, not '${text.slice(0, 80)}'`);
  }
  return { host: name, port: number };
}

function pickersOf({ picker, host, port }: PickOptions): readonly { host: string; port: number }[] {
  if (picker.length === 0) return [{ host, port }];
  return picker.map((text) => addressIn(text, "--picker"));
}

function authzOf({ authz }: PickOptions): EnvoyOptions["authz"] {
  if (authz === undefined) return undefined;
  const at = addressIn(authz, "--authz");
  return { ...at, tls: !isLoopbackHost(at.host) };
}

/** The port of `--at-grpc`. */
function grpcPortOf({ atGrpc }: PickOptions): number | undefined {
  if (atGrpc === undefined) return undefined;
  const port = Number(/^:(\d{1,5})$/.exec(atGrpc)?.[1]);
  if (!(port > 0 && port < 65_536)) {
    throw refused(`--at-grpc wants a port of each server, such as :8001, not '${atGrpc.slice(0, 80)}'`);
  }
  return port;
}

/** The servers that a picker chooses from. */
interface Choice {
  readonly servers: readonly ServerOptions[];
  readonly directory: Directory | undefined;
  readonly dialling: Dialling;
  readonly poolState: () => PoolState | undefined;
  /** Whether an endpoint is outside the pool. */
  readonly isSpill: (id: EndpointId) => boolean;
  close(): Promise<void>;
}

/** Tells each problem of a pool once. */
function poolNotes(io: CommandIo, keep: (state: PoolState) => void): (state: PoolState) => void {
  let told: string | undefined;
  return (state) => {
    const { pool, ready, problem } = state;
    keep(state);
    if (problem === told) return;
    if (problem !== undefined) logged(io)(problem);
    else logged(io)(`InferencePool ${pool}: ${ready} pods are ready`);
    told = problem;
  };
}

/** The endpoints of `--pool`, once they are known or it is known why they are not. */
async function poolOf(
  options: PickOptions,
  io: CommandIo,
  keep: (state: PoolState) => void,
): Promise<KeptDirectory | undefined> {
  const { pool, atTrust, atZone, atKind, atPrice = [], at } = options;
  if (pool === undefined) return undefined;
  const rates = atPricesOf(atPrice, at, true)("");
  const [clock, random] = [systemClock(), systemRandom()];
  const terms = {
    trust: atTrust,
    ...(atKind === undefined ? {} : { kind: atKind }),
    ...(atZone === "unknown" ? {} : { within: atZone }),
    ...(rates ? { rates } : {}),
    onState: poolNotes(io, keep),
  };
  const source = await kubernetesPool(pool, terms, { clock, random });
  const directory = openUnsigned(source, atTrust, { clock, random, observer: silentObserver });
  await directory.ready;
  return directory;
}

/** The endpoints of `--spill`. */
interface Spill {
  readonly servers: readonly ServerOptions[];
  readonly directories: readonly { readonly directory: KeptDirectory; readonly shown: DialOptions }[];
}

async function spillOf(options: PickOptions, io: CommandIo): Promise<Spill> {
  const parts = { clock: systemClock(), random: systemRandom(), observer: silentObserver };
  const servers: ServerOptions[] = [];
  const directories: { directory: KeptDirectory; shown: DialOptions }[] = [];
  try {
    for (const target of await Promise.all(options.spill.map(spillTarget))) {
      if (target.kind === "server") {
        servers.push(target.server);
      } else if (target.kind === "pool") {
        const { pool, trust, zone, serverKind, rates, shown } = target;
        const terms = {
          trust,
          ...(serverKind === undefined ? {} : { kind: serverKind }),
          ...(zone === undefined ? {} : { within: zone }),
          ...(rates ? { rates } : {}),
          onState: poolNotes(io, () => undefined),
        };
        directories.push({
          directory: openUnsigned(await kubernetesPool(pool, terms, parts), trust, parts),
          shown,
        });
      } else {
        const { operatorKeys } = options;
        const keys =
          operatorKeys === undefined
            ? {}
            : { operatorKeys: await readTextFile(operatorKeys, "the operator's keys") };
        directories.push({
          directory: await openDirectory({ from: target.from, ...keys }, parts),
          shown: {},
        });
      }
    }
    await Promise.all(directories.map(({ directory }) => directory.ready));
    return { servers, directories };
  } catch (thrown) {
    await Promise.all(directories.map(({ directory }) => directory[Symbol.asyncDispose]()));
    throw thrown;
  }
}

async function choiceOf(options: PickOptions, io: CommandIo): Promise<Choice> {
  const { at, atMetrics } = options;
  const alone = at.length === 0 && options.pool !== undefined;
  const { atGrpc: _, ...stated } = options;
  const servers = alone ? [] : await serversAt({ ...stated, atTenants: false, retries: 0 });
  const found = await directoryOf(options);
  let poolState: PoolState | undefined;
  const pool = await poolOf(options, io, (state) => (poolState = state));
  if (servers.length === 0 && !found && !pool) {
    throw refused("a picker needs servers to choose from: give --at URL, repeated, --pool or --directory");
  }
  const pods: DialOptions =
    options.pool === undefined
      ? {}
      : {
          ...(await shownOf("at", options)),
          ...(atMetrics === undefined ? {} : { metrics: atMetrics }),
        };
  const spill = await spillOf(options, io);
  const inPool = unionOf(pool, found?.directory);
  const ids = new Set(servers.map(serverId));
  const spillIds = new Set(spill.servers.map(serverId));
  for (const id of spillIds) if (ids.has(id)) throw refused(`--spill and --at both name ${id}`);
  const listing = (id: EndpointId) => spill.directories.find(({ directory }) => directory.wordOn(id));
  const isOfPool = (id: EndpointId): boolean => ids.has(id) || inPool?.wordOn?.(id) !== undefined;
  return {
    servers: [...servers, ...spill.servers],
    directory: spill.directories.reduce<Directory | undefined>(
      (all, { directory }) => unionOf(all, directory),
      inPool,
    ),
    poolState: () => poolState,
    isSpill: (id) => spillIds.has(id) || (!isOfPool(id) && listing(id) !== undefined),
    dialling: (info, word) =>
      pool?.wordOn(info.id)
        ? pods
        : found?.directory.wordOn(info.id)
          ? found.dialling(info, word)
          : (listing(info.id)?.shown ?? {}),
    async close() {
      await Promise.all(spill.directories.map(({ directory }) => directory[Symbol.asyncDispose]()));
      await pool?.[Symbol.asyncDispose]();
      await found?.directory[Symbol.asyncDispose]();
    },
  };
}

/** The servers that are known at this moment, as a proxy reaches them. */
function reachable({ servers, directory, isSpill }: Choice, follows: boolean, grpcPort: number | undefined) {
  const infos: readonly Pick<EndpointInfo, "id" | "address" | "grpcAddress">[] = [
    ...servers.map((one) => ({ address: one.address, id: serverId(one) })),
    ...(directory?.snapshot().entries ?? []),
  ];
  const hostsBy = (locate: (info: (typeof infos)[number]) => HostAndPort | undefined) =>
    infos.flatMap((one) => {
      const at = locate(one);
      return at ? [{ ...at, spill: isSpill(one.id) }] : [];
    });
  const hosts = hostsBy(hostAndPort);
  const grpcHosts = hostsBy((info) => grpcHostAndPort(info, grpcPort));
  if (hosts.length === 0 && !follows) {
    throw refused("no server to write into Envoy's configuration has an address");
  }
  return { endpoints: hosts, grpcEndpoints: grpcHosts, grpc: grpcHosts.length > 0 || grpcPort !== undefined };
}

/** Chooses endpoints for a gateway until SIGINT or SIGTERM, then drains; or prints Envoy's configuration. */
export async function pick(options: PickOptions, io: CommandIo): Promise<ExitCode> {
  const encrypted = isEncrypted(options);
  const grpcPort = grpcPortOf(options);
  checkDataClass(standardPolicy(), options.dataClass, "--data-class", "invalid-input");
  const choice = await choiceOf(options, io);
  try {
    if (options.printEnvoy) {
      const follows = options.pool !== undefined || options.spill.some((one) => !/^https?:/.test(one));
      const text = envoyConfiguration({
        host: options.envoyHost,
        port: options.envoyPort,
        pickers: pickersOf(options),
        pickerTls: encrypted,
        ...reachable(choice, follows, grpcPort),
        failOpen: options.failOpen,
        authz: authzOf(options),
        follows,
        isLimited: options.mostInFlight !== undefined,
      });
      io.out(text.trimEnd());
      return 0;
    }
    await listenUntilStopped(options, choice, io);
    return 0;
  } finally {
    await choice.close();
  }
}

function kindOf(path: string): Route["kind"] | undefined {
  try {
    return parseRoute("GET", path).route.kind;
  } catch {
    return undefined;
  }
}

/** Answers health checks of both protocols, and over HTTP the metrics. */
function adminHandler(picker: EndpointPicker, metrics: PickMetrics, hasLearned: () => boolean): Handler {
  const encoder = new TextEncoder();
  return async ({ path, headers }) => {
    if (path === "/metrics") {
      const { type, bytes } = metrics.page(headers["accept"]);
      return { status: 200, headers: { "content-type": type }, body: { kind: "parts", parts: [bytes] } };
    }
    const kind = kindOf(path);
    const isReady = kind === "ready" && hasLearned() && (await picker.reaches());
    const status = kind === "live" || isReady ? 200 : kind === "ready" ? 503 : 404;
    const error =
      status === 404
        ? "a picker serves ext_proc, health checks and metrics only"
        : hasLearned()
          ? "no server answers"
          : "the models of the servers are not known yet";
    const reason = status === 404 ? "unknown-route" : "rejected";
    const text = status === 200 ? "" : JSON.stringify({ error, reason, stage: "admission" });
    return { status, headers: {}, body: { kind: "parts", parts: [encoder.encode(text)] } };
  };
}

/** The port of metrics and health over HTTP; undefined without `--metrics-port`. */
async function adminOf(
  { host, metricsPort }: PickOptions,
  answer: Handler,
  { clock, random }: { readonly clock: Clock; readonly random: Random },
): Promise<Listening | undefined> {
  return metricsPort === undefined ? undefined : listen(answer, { clock, random, host, port: metricsPort });
}

/** How long a request waits for the first description of its model, in milliseconds: Envoy waits a second for the picker. */
const mostRequestLearnMs = 800;
/** How long listening waits for the models, in milliseconds. */
const mostLearnMs = 2000;

/** The number, or 0 if it takes longer. */
function atMost(clock: Clock, ms: number, told: Promise<number>): Promise<number> {
  return new Promise((resolve, reject) => {
    const timer = clock.timer(ms, () => resolve(0));
    told.finally(() => timer[Symbol.dispose]()).then(resolve, reject);
  });
}

async function listenUntilStopped(options: PickOptions, choice: Choice, io: CommandIo): Promise<void> {
  keepYoung();
  const { servers, directory, dialling, isSpill } = choice;
  const grpcPort = grpcPortOf(options);
  const [clock, random] = [systemClock(), systemRandom()];
  // The metrics read the picker, and the picker tells them.
  let metrics: PickMetrics | undefined;
  const observer: Observer = { record: (event) => metrics?.observer.record(event) };
  const { mostInFlight, dataClass } = options;
  const picker = createPicker({
    id: `pick-${randomId(random).slice(0, 8)}`,
    ...dialAll(
      { servers, ...(directory ? { directory, dialling } : {}) },
      { clock, random, observer, linkBeliefs: false },
    ),
    policy: standardPolicy(),
    clock,
    random,
    observer,
    mostLearnMs: mostRequestLearnMs,
    ...(mostInFlight === undefined ? {} : { mostInFlight, isUnlimited: isSpill }),
  });
  try {
    const unstatedRules = { dataClass, leastTrust: "none" } as const;
    const call = Object.assign(housekeepingCall(randomId(random)), {
      deadlineMs: clock.nowMs() + 10_000,
      rules: unstatedRules,
    });
    let hasLearned = false;
    const learning = picker.learn(call).finally(() => (hasLearned = true));
    // After that it listens, and is ready once every server has answered or is taken for absent.
    const models = await atMost(clock, mostLearnMs, learning);
    metrics = pickMetrics({
      clock,
      inFlight: () => picker.inFlight,
      endpoints: () => ({ known: picker.endpoints.length, paused: picker.paused }),
      directory: () => directory?.snapshot(),
      pool: choice.poolState,
      residentBytes: () => process.memoryUsage.rss(),
    });
    const addresses = createAddresses(clock);
    const grpcAddresses = createAddresses(clock, systemLookUp, (info) => grpcHostAndPort(info, grpcPort));
    const logged = loggedRequests(randomId(random).slice(0, 8), clock);
    const processor = pickProcessor({
      picker,
      logged,
      metrics,
      addresses,
      grpcAddresses,
      isSpill,
      clock,
      unstatedRules,
    });
    const discovered = discoveredEndpoints({ picker, addresses, grpcAddresses, isSpill, clock });
    const answer = adminHandler(picker, metrics, () => hasLearned);
    const listening = await listenGrpc(answer, {
      clock,
      random,
      host: options.host,
      port: options.port,
      directSocket,
      limits: { ...defaultWireLimits, maxBodyBytes: mostMessageBytes },
      services: [externalProcessor({ clock, processor }), accessLog(logged), endpointDiscovery(discovered)],
      healthNames: { liveness: "/v2/health/live", readiness: "/v2/health/ready" },
      // A gateway opens few connections and holds one call for each request under way.
      maxConcurrentCalls: 65_536,
      ...(await pickTls(options, "longshore-pick")),
    });
    const admin = await adminOf(options, answer, { clock, random }).catch(async (thrown: unknown) => {
      await listening.close(0);
      throw thrown;
    });
    tell({ listening, admin }, options, choice, models, io);
    try {
      await stopped(io);
      await listening.close(options.drainSeconds * 1000);
    } finally {
      await admin?.close();
    }
  } finally {
    await picker.close();
  }
}

function tell(
  {
    listening: { address },
    admin,
  }: { readonly listening: GrpcListening; readonly admin: Listening | undefined },
  options: PickOptions,
  { servers, directory }: Choice,
  models: number,
  io: CommandIo,
): void {
  const names = servers.map((one) => one.address);
  const encrypted = isEncrypted(options);
  if (options.json) {
    io.out(
      JSON.stringify({ listening: address, metrics: admin?.address, tls: encrypted, servers: names, models }),
    );
    return;
  }
  const how = encrypted ? (options.tlsCert === undefined ? "TLS, self-signed" : "TLS") : "no TLS";
  io.out(`picking on ${address} (${how})`);
  if (admin) io.out(`metrics: ${admin.address}/metrics`);
  io.out(
    `servers: ${names.join(", ") || (directory ? "those of the directory" : "none")}; models: ${models}`,
  );
  if (options.dataClass === "unknown") {
    logged(io)("requests without a data class are refused; --data-class states it for them");
  }
}
