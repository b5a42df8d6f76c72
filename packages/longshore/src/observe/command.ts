import { type Clock, LongshoreError, type ModelKnowledge } from "@longshore/core";
import { checkCredentialTarget, housekeepingCall } from "@longshore/core/internal";
import { systemClock } from "@longshore/nodejs";
import { platformCodecs } from "../engine/codecs.ts";
import { openEngine } from "../engine/open-engine.ts";
import { readTls } from "../compose/listeners.ts";
import { openModel } from "../engine/open-model.ts";
import { transportTls } from "../connect/server-tls.ts";
import { exchangeWatch } from "./exchange-watch.ts";
import { figuresOf, type Observed, observed } from "./observed.ts";
import { type Relay, relay, type RelayOptions, type RelayTarget } from "./relay.ts";
import { figuresText, whatIfJson, whatIfText } from "./report.ts";
import { type Supposed, whatIf } from "./what-if.ts";
import { type ShownOptions, shownOf } from "../options/connection-options.ts";
import { type CommandIo, type ExitCode, stopped } from "../options/io.ts";
import { type LinkOptions, linksOf } from "../options/link-options.ts";

/** Options of `longshore observe`. */
export interface ObserveCommandOptions extends LinkOptions, Omit<ShownOptions<"at">, "atKey"> {
  readonly inFrontOf: string;
  readonly host: string;
  readonly port: number;
  readonly grpcInFrontOf?: string;
  readonly grpcPort?: number;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly models?: string;
  readonly edgeSpeed: number;
  readonly everySeconds: number;
  /** For what is replayed at the end. */
  readonly endSeconds: number;
  readonly seed: number;
  readonly json: boolean;
}

function invalid(message: string): LongshoreError {
  return new LongshoreError("invalid-input", "resolve", message);
}

/** The target of bytes. Encrypted bytes cannot be read, so TLS to the server begins here again. */
function targetOf(option: string, value: string, tls: RelayTarget["tls"]): RelayTarget {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url) checkCredentialTarget(url, undefined);
  const secure = url?.protocol === "https:";
  if (!url || (!secure && url.protocol !== "http:") || url.pathname !== "/" || url.search !== "") {
    // The given text may hold credentials, even if it cannot be parsed.
    const given = value.includes("@") ? "" : `, not '${value}'`;
    throw invalid(`--${option} wants http://host:port or https://host:port without a path or a user${given}`);
  }
  const host = url.hostname.replace(/^\[|\]$/g, "");
  if (secure) return { host, port: Number(url.port === "" ? 443 : url.port), tls: tls ?? {} };
  return { host, port: Number(url.port === "" ? 80 : url.port) };
}

/** The relay's own certificate for clients, and what the server is believed by and shown. */
async function tlsOf(
  options: ObserveCommandOptions,
): Promise<Pick<RelayOptions, "tls"> & { readonly there: RelayTarget["tls"] }> {
  const { tlsCert: certificate, tlsKey: key } = options;
  if ((certificate === undefined) !== (key === undefined))
    throw invalid("--tls-cert and --tls-key go together");
  const { tls } = await shownOf("at", options);
  const there = tls && transportTls(tls);
  if (certificate === undefined || key === undefined) return { there };
  return { tls: await readTls({ certificate, key }), there };
}

async function supposedOf(options: ObserveCommandOptions): Promise<Supposed> {
  const { deviceSpeed, edgeSpeed, roundTrip: roundTripMs, seed } = options;
  return { deviceSpeed, edgeSpeed, ...(await linksOf(options)), roundTripMs, seed };
}

/** The counts besides inferences. */
interface Counted {
  unreadConnections: number;
  grpcBytes: number;
}

/** The options of both relays. */
type RelayAt = Omit<RelayOptions, "watch" | "protocol">;

function httpRelay(at: RelayAt, seen: Observed, counted: Counted, clock: Clock): Promise<Relay> {
  const pathOf = ({ line }: { readonly line: string }): string => line.split(" ")[1] ?? "";
  return relay({
    ...at,
    protocol: "http/1.1",
    watch(client) {
      const {
        up,
        down,
        [Symbol.dispose]: over,
      } = exchangeWatch(client, {
        began: (message) => seen.began(pathOf(message)),
        ended: (exchange) => seen.ended(exchange),
        broke: (message) => seen.broke(pathOf(message), clock.nowMs()),
      });
      return {
        up: (chunk) => up.passed(chunk, clock.nowMs()),
        down: (chunk) => down.passed(chunk, clock.nowMs()),
        downEnded: () => down.ended(clock.nowMs()),
        [Symbol.dispose]() {
          if (up.lost || down.lost) counted.unreadConnections++;
          over();
        },
      };
    },
  });
}

function grpcRelay(at: RelayAt, counted: Counted): Promise<Relay> {
  const count = (chunk: Uint8Array): void => void (counted.grpcBytes += chunk.byteLength);
  return relay({
    ...at,
    protocol: "h2",
    watch: () => ({
      up: count,
      down: count,
      downEnded: () => undefined,
      [Symbol.dispose]: () => undefined,
    }),
  });
}

/** Where gRPC is passed on: to whom, and from which port. A port that is picked has none after it. */
function grpcOf(
  options: ObserveCommandOptions,
  tls: RelayTarget["tls"],
): Pick<RelayOptions, "port" | "target"> | undefined {
  const { grpcInFrontOf, port, grpcPort = port === 0 ? 0 : port + 1 } = options;
  if (grpcInFrontOf === undefined) return undefined;
  if (grpcPort > 65_535) {
    throw new LongshoreError("invalid-input", "resolve", "no port comes after 65535: give --grpc-port");
  }
  return { port: grpcPort, target: targetOf("grpc-in-front-of", grpcInFrontOf, tls) };
}

/** Distinct reasons for broken connections that are reported. */
const mostReasons = 100;

/**
 * Stands in front of a server until SIGINT or SIGTERM: passes every byte on as it is, tells what passes every so often, and
 * in the end what offloading would have saved.
 */
export async function observe(options: ObserveCommandOptions, io: CommandIo): Promise<ExitCode> {
  const { host, port, json, everySeconds } = options;
  const { tls, there } = await tlsOf(options);
  const target = targetOf("in-front-of", options.inFrontOf, there);
  const grpcAt = grpcOf(options, there);
  const supposed = await supposedOf(options);
  if (options.models !== undefined) await openModel(options.models);
  const clock = systemClock();
  const seen = observed();
  const counted: Counted = { unreadConnections: 0, grpcBytes: 0 };
  const tell = (): void => {
    const figures = seen.models().flatMap((one) => {
      const known = figuresOf(one);
      return known ? [known] : [];
    });
    const { others, unanswered } = seen;
    if (json) io.out(JSON.stringify({ observed: figures, others, unanswered, ...counted }));
    else {
      io.out(figures.length === 0 ? "no inference was answered yet" : figuresText(figures));
      io.out(
        `other requests: ${others}; failed ones of models that never answered: ${unanswered}; connections that could not be read: ${counted.unreadConnections}; bytes of gRPC: ${counted.grpcBytes}`,
      );
    }
  };
  {
    const said = new Set<string>();
    const broke = (because: string): void => {
      // Once for each reason, not for each connection.
      if (said.size < mostReasons && !said.has(because))
        io.note(`a connection could not be passed on: ${because}`);
      said.add(because);
    };
    const listens = { host, broke, ...(tls ? { tls } : {}) };
    await using http = await httpRelay({ ...listens, port, target }, seen, counted, clock);
    await using grpc = grpcAt && (await grpcRelay({ ...listens, ...grpcAt }, counted));
    const listening = `${tls ? "https" : "http"}://${http.host}:${http.port}`;
    if (json) io.out(JSON.stringify({ listening, inFrontOf: options.inFrontOf, grpc: grpc?.port }));
    else {
      io.out(`listening on ${listening}, in front of ${options.inFrontOf}`);
      if (grpc) io.out(`gRPC on ${grpc.host}:${grpc.port}: passed on, and only its bytes are counted`);
    }
    let timer: Disposable | undefined;
    const again = (): void => {
      timer = clock.timer(everySeconds * 1000, () => {
        tell();
        again();
      });
    };
    again();
    await stopped(io);
    timer?.[Symbol.dispose]();
  }
  tell();
  await tellWhatIf(options, supposed, seen, io);
  return 0;
}

/** The replays were not done in the time that they have. */
class TimeIsUp extends Error {}

/**
 * Replays the observed requests, the models with most requests first, for as long as there is time, and says which were left
 * out.
 */
async function tellWhatIf(
  options: ObserveCommandOptions,
  supposed: Supposed,
  seen: Observed,
  io: CommandIo,
): Promise<void> {
  const { json, endSeconds } = options;
  const clock = systemClock();
  const untilMs = clock.nowMs() + endSeconds * 1000;
  const progress = (text: string): void => {
    if (clock.nowMs() >= untilMs) throw new TimeIsUp();
    io.progress(text);
  };
  const words = `had its clients been devices of ${supposed.deviceSpeed} x the server's speed behind ${supposed.up.name}, round trip ${supposed.roundTripMs} ms${
    supposed.edgeSpeed > 0 ? `, with an edge box of ${supposed.edgeSpeed} x its speed beside them` : ""
  }`;
  const codecs = [...platformCodecs().keys()];
  const leftOut: string[] = [];
  await using packages = await packagesOf(options.models);
  for (const one of seen.models().toSorted((a, b) => b.rows.length - a.rows.length)) {
    try {
      progress(one.model);
      const found = await whatIf(one, await packages.knowledge(one.model), supposed, codecs, progress);
      if (found) io.out(json ? JSON.stringify(whatIfJson(found)) : whatIfText(found, words));
    } catch (thrown) {
      if (!(thrown instanceof TimeIsUp)) throw thrown;
      if (one.rows.length > 0) leftOut.push(one.model);
    }
  }
  if (leftOut.length === 0) return;
  if (json) io.out(JSON.stringify({ notReplayed: leftOut }));
  else io.out(`not replayed in ${endSeconds} s (--end-seconds): ${leftOut.join(", ")}`);
}

/** The knowledge of models in the packages of a folder. Those that it lacks are known by their times only. */
async function packagesOf(
  folder: string | undefined,
): Promise<AsyncDisposable & { knowledge(model: string): Promise<ModelKnowledge | undefined> }> {
  if (folder === undefined)
    return { knowledge: async () => undefined, [Symbol.asyncDispose]: async () => undefined };
  const { engine, close } = openEngine({ store: (await openModel(folder)).store });
  return {
    knowledge: (model) => engine.describe(model, undefined, housekeepingCall("observe")),
    [Symbol.asyncDispose]: close,
  };
}
