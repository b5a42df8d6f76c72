import { type Clock, type Handler, LongshoreError } from "@longshore/core";
import { sleep } from "@longshore/core/internal";
import { externalScaler, type GrpcListening, listenGrpc } from "@longshore/grpc";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { directSocket, listen, type Listening, type ListenTls, nodeTls } from "@longshore/server";
import { readTls } from "../compose/listeners.ts";
import { type AtOptions, serversOf } from "../options/at-options.ts";
import { type CommandIo, type ExitCode, logged } from "../options/io.ts";
import { selfSigned } from "../pick/self-signed.ts";
import { demandReader } from "./demand.ts";
import { metricsApi } from "./metrics-api.ts";
import { scaleMetrics } from "./metrics.ts";
import { createNumbers, type Numbers } from "./numbers.ts";
import { createSources, type Sources } from "./sources.ts";

/** Options of `longshore scale`. */
export interface ScaleOptions extends AtOptions {
  readonly objective: string;
  readonly model: readonly string[];
  readonly startSeconds: number;
  readonly idleMinutes: number;
  readonly most: number;
  readonly parallel?: number;
  readonly every: number;
  readonly host: string;
  /** Port of KEDA's external scaler; false: none. */
  readonly port: number;
  readonly metricsApiPort?: number;
  readonly metricsPort?: number;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly clientCa?: string;
  readonly json: boolean;
}

async function tlsOf({ tlsCert, tlsKey, clientCa }: ScaleOptions): Promise<ListenTls | undefined> {
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new LongshoreError("invalid-input", "resolve", "--tls-cert and --tls-key go together");
  }
  if (tlsCert === undefined || tlsKey === undefined) {
    if (clientCa === undefined) return undefined;
    throw new LongshoreError("invalid-input", "resolve", "--client-ca needs --tls-cert and --tls-key");
  }
  return readTls({
    certificate: tlsCert,
    key: tlsKey,
    ...(clientCa === undefined
      ? {}
      : { clientAuthorities: clientCa, clientCertificates: "required" as const }),
  });
}

/** Metrics and health over HTTP. */
function pages(text: ReturnType<typeof scaleMetrics>): Handler {
  return async ({ path, headers }) => {
    const body = (bytes: Uint8Array) => ({ kind: "parts" as const, parts: [bytes] });
    if (path === "/metrics") {
      const { type, bytes } = text(headers["accept"]);
      return { status: 200, headers: { "content-type": type }, body: body(bytes) };
    }
    const known = path === "/v2/health/live" || path === "/v2/health/ready";
    return { status: known ? 200 : 404, headers: {}, body: body(new Uint8Array(0)) };
  };
}

/** Looks at the sources until the command is stopped, and tells each change. */
async function follow(
  sources: Sources,
  numbers: Numbers,
  { every, json }: ScaleOptions,
  clock: Clock,
  io: CommandIo,
  seen: (answering: number, silent: number) => void,
): Promise<void> {
  const reader = demandReader();
  const told = new Map<string, string>();
  const problemsTold = new Set<string>();
  while (!io.stop.aborted) {
    const { pages: read, problems } = await sources.read();
    seen(read.size, problems.length);
    for (const problem of problems) {
      if (!problemsTold.has(problem)) logged(io)(problem);
    }
    problemsTold.clear();
    for (const problem of problems) problemsTold.add(problem);
    // Without any page nothing is known: the numbers stay as they were, and no endpoint is given up for it.
    if (read.size > 0) numbers.look(reader.read(read, clock.nowMs()), problems.length === 0);
    for (const { model, objective, decision } of numbers.rows()) {
      const { needed, met, rate, comingRate } = decision;
      const state = `${needed} ${String(met)}`;
      const key = `${model} ${objective}`;
      if (told.get(key) === state) continue;
      told.set(key, state);
      const time = new Date(clock.wallMs()).toISOString();
      if (json) {
        io.out(JSON.stringify({ time, model, objective, needed, met, rate, comingRate }));
      } else {
        const name = model === "*" ? "all models" : model;
        const unmet = met ? "" : "; no number of endpoints keeps the objective";
        io.out(
          `${time} ${name}: ${needed} endpoints (${rate.toFixed(1)} requests a second, up to ${comingRate.toFixed(1)} coming)${unmet}`,
        );
      }
    }
    await sleep(clock, every * 1000, io.stop).catch(() => undefined);
  }
}

/** Serves the number of endpoints that a fleet needs until SIGINT or SIGTERM. */
export async function scaleCommand(options: ScaleOptions, io: CommandIo): Promise<ExitCode> {
  const [clock, random] = [systemClock(), systemRandom()];
  const { host, port, metricsApiPort, metricsPort, parallel } = options;
  const numbers = createNumbers(clock, {
    objective: options.objective,
    models: options.model,
    startMs: options.startSeconds * 1000,
    idleMs: options.idleMinutes === 0 ? Infinity : options.idleMinutes * 60_000,
    most: options.most,
    ...(parallel === undefined ? {} : { slots: parallel }),
  });
  const servers = await serversOf(options);
  if (servers.length === 0) {
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      "give the metrics of a gateway or picker: --at URL, repeated",
    );
  }
  const tls = await tlsOf(options);
  const sources = createSources(servers, clock);
  let state = { answering: 0, silent: servers.length };
  const open: (Listening | GrpcListening)[] = [];
  try {
    const answer = pages(scaleMetrics(numbers, () => state));
    const keda = await listenGrpc(answer, {
      clock,
      random,
      host,
      port,
      directSocket,
      services: [externalScaler({ numbers })],
      ...(tls ? { tls: nodeTls(tls) } : {}),
    });
    open.push(keda);
    let api: Listening | undefined;
    if (metricsApiPort !== undefined) {
      const { certificate, key } = selfSigned("longshore-scale", new Date());
      api = await listen(
        metricsApi(numbers, () => clock.wallMs()),
        {
          clock,
          random,
          host,
          port: metricsApiPort,
          // The aggregator of Kubernetes speaks TLS only; without a certificate of the operator's it must skip the check.
          tls: tls ?? { certificate, key },
        },
      );
      open.push(api);
    }
    const metrics =
      metricsPort === undefined
        ? undefined
        : await listen(answer, { clock, random, host, port: metricsPort });
    if (metrics) open.push(metrics);
    if (options.json) {
      io.out(
        JSON.stringify({ listening: keda.address, metricsApi: api?.address, metrics: metrics?.address }),
      );
    } else {
      io.out(`KEDA's external scaler on ${keda.address}`);
      if (api) io.out(`external.metrics.k8s.io on ${api.address}`);
      if (metrics) io.out(`metrics: ${metrics.address}/metrics`);
    }
    await follow(sources, numbers, options, clock, io, (answering, silent) => {
      state = { answering, silent };
    });
    return 0;
  } finally {
    await Promise.all(open.map((one) => one.close(1000)));
    await sources.close();
  }
}
