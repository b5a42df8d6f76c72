import {
  type Clock,
  type Handler,
  LongshoreError,
  type Observer,
  type Random,
  type Surface,
  type WireLimits,
} from "@longshore/core";
import { type GrpcListening, listenGrpc } from "@longshore/grpc";
import {
  createPeerReader,
  directSocket,
  listen,
  type Listening,
  type ListenTls,
  nodeTls,
} from "@longshore/server";
import { watchFiles } from "@longshore/nodejs";
import { readTextFile } from "../connect/read-text.ts";

/** Files in PEM, watched: certificates of workloads are renewed every hour. */
export interface TlsFiles {
  readonly certificate: string;
  readonly key: string;
  /** Authorities that sign clients; undefined: clients need no certificates. */
  readonly clientAuthorities?: string;
  /** Default `required`. */
  readonly clientCertificates?: "required" | "optional";
}

/** The limits of the connections of each port. Left out: the defaults of `listen` and `listenGrpc`. */
export interface ConnectionOptions {
  /** Which code reads HTTP/1.1 and HTTP/2: `own`, or `node` for `node:http` and `node:http2`. Default `own`. */
  readonly http?: "own" | "node";
  /** Connections that are served at one time. Default 1024. */
  readonly maxConnections?: number;
  /** Of these, connections from one source address (an IPv6 /64 counts as one). Default half of them. */
  readonly maxConnectionsPerAddress?: number;
  /** Connections beyond these limits that are served health probes only. Default 64. */
  readonly probeConnections?: number;
  /** Time for a TLS handshake, for the headers of a request, and for what begins a gRPC connection. Default 10,000 ms. */
  readonly headersTimeoutMs?: number;
  /** Time for a whole request to arrive. Default 300,000 ms. */
  readonly requestTimeoutMs?: number;
  /** Time without any byte of a body that is being read. Default 30,000 ms. */
  readonly stallTimeoutMs?: number;
  /** Time without any progress of a reply that the client does not read. Default 30,000 ms. */
  readonly replyTimeoutMs?: number;
  /** How long an HTTP connection without requests is kept. Default 30,000 ms. */
  readonly keepAliveMs?: number;
  /** How long a gRPC connection without calls is kept. Default 300,000 ms. */
  readonly grpcIdleTimeoutMs?: number;
}

/** Where a server listens. */
export interface ListenersOptions {
  /** Default: see there. */
  readonly connections?: ConnectionOptions;
  /** Default 127.0.0.1. */
  readonly host?: string;
  /** Default 8000; 0 takes a free one. */
  readonly port?: number;
  /**
   * The port for gRPC, on the same host; 0 takes a free one. `next` is the one after `port`, as Triton's clients look for
   * it, and no gRPC (and a line that says so) when another program has it. Default: no gRPC.
   */
  readonly grpcPort?: number | "next";
  /** A port of its own for management, which then is not on the first one. */
  readonly managePort?: number;
  /** Default 127.0.0.1. */
  readonly manageHost?: string;
  /** A port of its own for metrics, which then are not on the first one. */
  readonly metricsPort?: number;
  /** Default: the first port's. */
  readonly metricsHost?: string;
  /** Of all ports. Default: plain. */
  readonly tls?: TlsFiles;
}

/** The parts that listeners need besides their options. */
export interface ListenersParts {
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  /** Of the messages of gRPC; over HTTP the handler reads bodies itself. */
  readonly limits: WireLimits;
  /** Bytes of messages that may be on their way at one time. */
  readonly maxBufferedBytes: number;
  /** Gets a line when certificates were read again, and when they could not be. */
  readonly report: (text: string) => void;
}

/** The ports of a server. */
export interface Listeners {
  readonly address: string;
  /** `host:port`, as clients of gRPC take it. */
  readonly grpcAddress: string | undefined;
  readonly manageAddress: string | undefined;
  readonly metricsAddress: string | undefined;
  /** Tells clients to go elsewhere; ports still listen. */
  drain(): void;
  /** Resolves when the replies that were written by now have left. */
  sent(): Promise<void>;
  close(graceMs: number): Promise<void>;
}

const defaultHost = "127.0.0.1";

/** Whether only programs of this machine reach a host. */
export function isLoopbackHost(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127\.\d{1,3}\.\d{1,3}\.\d{1,3}$/.test(host);
}

/** The hosts that will be listened on. */
export function hostsOf(options: ListenersOptions): readonly string[] {
  const { host = defaultHost, manageHost = defaultHost, metricsHost = host } = options;
  return [
    host,
    ...(options.managePort === undefined ? [] : [manageHost]),
    ...(options.metricsPort === undefined ? [] : [metricsHost]),
  ];
}

/** The surfaces on the first port: all that have no port of their own. */
export function dataSurfaces({ managePort, metricsPort }: ListenersOptions): readonly Surface[] {
  return [
    "data",
    ...(managePort === undefined ? (["manage"] as const) : []),
    ...(metricsPort === undefined ? (["observe"] as const) : []),
  ];
}

/** Reads certificate, key and authorities. Throws `invalid-configuration` when a file is not there. */
export async function readTls(files: TlsFiles): Promise<ListenTls> {
  const { clientAuthorities, clientCertificates } = files;
  return {
    certificate: await readTextFile(files.certificate, "the certificate"),
    key: await readTextFile(files.key, "the key of the certificate"),
    ...(clientAuthorities === undefined
      ? {}
      : { clientAuthorities: await readTextFile(clientAuthorities, "the authorities of clients") }),
    ...(clientCertificates === undefined ? {} : { clientCertificates }),
  };
}

/** Whether another process has the port. */
function isTaken(thrown: unknown): thrown is LongshoreError {
  return LongshoreError.is(thrown) && thrown.reason === "port-taken";
}

/** The likeliest reason for a taken port, besides what it is. */
function besideGrpc(thrown: unknown, port: number): unknown {
  if (!isTaken(thrown)) return thrown;
  const hint = `a longshore server on port ${port - 1} would have it for gRPC, unless it was started with --no-grpc-port or another --grpc-port`;
  return new LongshoreError("port-taken", "resolve", `${thrown.message} (${hint})`, { cause: thrown });
}

/** Gives listeners their certificates again when the files change. */
async function renewing(
  files: TlsFiles,
  listening: readonly Listening[],
  grpc: GrpcListening | undefined,
  { clock, report }: ListenersParts,
): Promise<Disposable> {
  const { certificate, key, clientAuthorities } = files;
  return watchFiles(
    () => [certificate, key, clientAuthorities ?? certificate],
    clock,
    async () => {
      try {
        const tls = await readTls(files);
        for (const one of listening) one.renew(tls);
        grpc?.renew(nodeTls(tls));
        report("certificates: the files changed and were read again");
      } catch (thrown) {
        const { message } = LongshoreError.from(thrown, "resolve", "reading certificates again");
        report(`certificates: the files changed and are not good; the ones before hold on (${message})`);
      }
    },
  );
}

/**
 * Puts a handler on one port, or on up to four: data, the same over gRPC, management, metrics. Throws `port-taken`, or
 * `invalid-configuration` for addresses and certificates that cannot be used; then nothing listens.
 */
export async function openListeners(
  handler: Handler,
  options: ListenersOptions,
  parts: ListenersParts,
): Promise<Listeners> {
  const { host = defaultHost, port = 8000, manageHost = defaultHost, metricsHost = host } = options;
  const { grpcIdleTimeoutMs, ...connections } = options.connections ?? {};
  const tls = options.tls && (await readTls(options.tls));
  const opened: Listening[] = [];
  let grpc: GrpcListening | undefined;
  const closeAll = async (graceMs: number): Promise<void> => {
    await Promise.all([...opened, ...(grpc ? [grpc] : [])].map((one) => one.close(graceMs)));
  };
  const open = async (at: string, on: number, surfaces: readonly Surface[]): Promise<Listening> => {
    const one = await listen(handler, {
      clock,
      random,
      host: at,
      port: on,
      surfaces,
      ...connections,
      ...(tls ? { tls } : {}),
    });
    opened.push(one);
    return one;
  };
  const { clock, random, observer, limits, maxBufferedBytes } = parts;
  const openGrpc = (on: number): Promise<GrpcListening> =>
    listenGrpc(handler, {
      clock,
      random,
      observer,
      limits,
      maxBufferedBytes,
      host,
      port: on,
      surfaces: dataSurfaces(options),
      peerOf: createPeerReader(() => clock.wallMs()),
      directSocket,
      ...connections,
      ...(grpcIdleTimeoutMs === undefined ? {} : { idleTimeoutMs: grpcIdleTimeoutMs }),
      ...(tls ? { tls: nodeTls(tls) } : {}),
    });
  const openNext = async (): Promise<GrpcListening | undefined> => {
    try {
      return await openGrpc(port === 0 ? 0 : port + 1);
    } catch (thrown) {
      if (!isTaken(thrown)) throw thrown;
      parts.report(
        `gRPC is not served: port ${port + 1} on ${host} is taken by another process; --grpc-port names another one, --no-grpc-port leaves gRPC out`,
      );
      return undefined;
    }
  };
  try {
    const data = await open(host, port, dataSurfaces(options)).catch((thrown: unknown) => {
      throw besideGrpc(thrown, port);
    });
    const { managePort, metricsPort } = options;
    const manage = managePort === undefined ? undefined : await open(manageHost, managePort, ["manage"]);
    const metrics = metricsPort === undefined ? undefined : await open(metricsHost, metricsPort, ["observe"]);
    const { grpcPort } = options;
    if (grpcPort === "next") grpc = port < 65_535 ? await openNext() : undefined;
    else if (grpcPort !== undefined) grpc = await openGrpc(grpcPort);
    const watch = options.tls && (await renewing(options.tls, opened, grpc, parts));
    return {
      address: data.address,
      grpcAddress: grpc?.address,
      drain() {
        for (const one of opened) one.drain();
        grpc?.drain();
      },
      async sent() {
        await Promise.all([...opened, ...(grpc ? [grpc] : [])].map((one) => one.sent()));
      },
      manageAddress: manage?.address,
      metricsAddress: metrics?.address,
      async close(graceMs) {
        watch?.[Symbol.dispose]();
        await closeAll(graceMs);
      },
    };
  } catch (thrown) {
    await closeAll(0);
    throw thrown;
  }
}
