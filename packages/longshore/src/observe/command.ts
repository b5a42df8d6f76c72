import { housekeepingCall, LongshoreError, type ModelKnowledge } from "@longshore/core";
import { constantTrace, meanBitsPerSecond, rateOf, scaled, type Trace } from "@longshore/lab";
import { systemClock } from "@longshore/nodejs";
import { linkOf } from "../advise/link-of.ts";
import { platformCodecs } from "../compose/codecs.ts";
import { openEngine } from "../compose/open-engine.ts";
import { openModel } from "../compose/open-model.ts";
import { exchangeWatch } from "./exchange-watch.ts";
import { figuresOf, observed } from "./observed.ts";
import { relay, type RelayOptions } from "./relay.ts";
import { figuresText, whatIfJson, whatIfText } from "./report.ts";
import { type Supposed, whatIf } from "./what-if.ts";
import { checkPort } from "../command/identity-options.ts";
import type { CommandIo, ExitCode } from "../command/io.ts";

/** Options of `longshore observe`. */
export interface ObserveCommandOptions {
  readonly inFrontOf: string;
  readonly host: string;
  readonly port: number;
  readonly grpcInFrontOf?: string;
  readonly grpcPort?: number;
  readonly models?: string;
  readonly uplink: string;
  readonly downlink?: string;
  readonly roundTrip: number;
  readonly deviceSpeed: number;
  readonly edgeSpeed: number;
  readonly everySeconds: number;
  readonly seed: number;
  readonly json: boolean;
}

function invalid(message: string): LongshoreError {
  return new LongshoreError("invalid-input", "resolve", message);
}

/** Where bytes go. What is encrypted cannot be looked at, and a relay that ended TLS would change what it passes on. */
function targetOf(option: string, value: string): RelayOptions["target"] {
  const url = URL.canParse(value) ? new URL(value) : undefined;
  if (url?.protocol !== "http:" || url.pathname !== "/" || url.search !== "") {
    throw invalid(
      `--${option} wants http://host:port without a path, not '${value}'; what is encrypted cannot be observed`,
    );
  }
  return { host: url.hostname.replace(/^\[|\]$/g, ""), port: Number(url.port === "" ? 80 : url.port) };
}

async function supposedOf(options: ObserveCommandOptions): Promise<Supposed> {
  const up = await linkOf("uplink", options.uplink);
  const rate = rateOf(options.uplink);
  const down: Trace =
    options.downlink !== undefined
      ? await linkOf("downlink", options.downlink)
      : rate === undefined
        ? scaled(up, 1)
        : constantTrace(4 * rate);
  for (const trace of [up, down]) {
    if (!(meanBitsPerSecond(trace) > 0)) throw invalid(`the link ${trace.name} never carries a byte`);
  }
  const { deviceSpeed, edgeSpeed, roundTrip: roundTripMs, seed } = options;
  return { deviceSpeed, edgeSpeed, up, down, roundTripMs, seed };
}

/** What the packages of a folder say of models, by name. Those that it lacks are known by their times only. */
async function knowledgeOf(
  folder: string | undefined,
  names: readonly string[],
): Promise<ReadonlyMap<string, ModelKnowledge>> {
  const found = new Map<string, ModelKnowledge>();
  if (folder === undefined) return found;
  const { engine, close } = openEngine({ store: (await openModel(folder)).store });
  try {
    for (const name of names) {
      const knowledge = await engine.describe(name, undefined, housekeepingCall("observe"));
      if (knowledge) found.set(name, knowledge);
    }
  } finally {
    await close();
  }
  return found;
}

/**
 * Stands in front of a server until SIGINT or SIGTERM: passes every byte on as it is, tells what passes every so often, and
 * in the end what offloading would have saved.
 */
export async function observe(options: ObserveCommandOptions, io: CommandIo): Promise<ExitCode> {
  const { host, port, json, everySeconds } = options;
  checkPort(port);
  const target = targetOf("in-front-of", options.inFrontOf);
  const supposed = await supposedOf(options);
  if (options.models !== undefined) await openModel(options.models);
  const clock = systemClock();
  const seen = observed();
  let unread = 0;
  let grpcBytes = 0;
  const http = await relay({
    host,
    port,
    target,
    watch(client) {
      const pathOf = ({ line }: { readonly line: string }): string => line.split(" ")[1] ?? "";
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
          if (up.lost || down.lost) unread++;
          over();
        },
      };
    },
  });
  const count = (chunk: Uint8Array): void => void (grpcBytes += chunk.byteLength);
  const grpc =
    options.grpcInFrontOf === undefined
      ? undefined
      : await relay({
          host,
          port: options.grpcPort ?? port + 1,
          target: targetOf("grpc-in-front-of", options.grpcInFrontOf),
          watch: () => ({
            up: count,
            down: count,
            downEnded: () => undefined,
            [Symbol.dispose]: () => undefined,
          }),
        });
  const listening = `http://${http.host}:${http.port}`;
  if (json) io.out(JSON.stringify({ listening, inFrontOf: options.inFrontOf, grpc: grpc?.port }));
  else {
    io.out(`listening on ${listening}, in front of ${options.inFrontOf}`);
    if (grpc) io.out(`gRPC on ${grpc.host}:${grpc.port}: passed on, and only its bytes are counted`);
  }
  const tell = (): void => {
    const figures = seen.models().flatMap((one) => {
      const known = figuresOf(one);
      return known ? [known] : [];
    });
    const rest = { others: seen.others, unreadConnections: unread, grpcBytes };
    if (json) io.out(JSON.stringify({ observed: figures, ...rest }));
    else {
      io.out(figures.length === 0 ? "no inference was answered yet" : figuresText(figures));
      io.out(
        `other requests: ${rest.others}; connections that could not be read: ${unread}; bytes of gRPC: ${grpcBytes}`,
      );
    }
  };
  let timer: Disposable | undefined;
  const again = (): void => {
    timer = clock.timer(everySeconds * 1000, () => {
      tell();
      again();
    });
  };
  again();
  await new Promise<void>((resolve) => {
    if (io.stop.aborted) resolve();
    else io.stop.addEventListener("abort", () => resolve(), { once: true });
  });
  timer?.[Symbol.dispose]();
  await http[Symbol.asyncDispose]();
  await grpc?.[Symbol.asyncDispose]();
  tell();
  await tellWhatIf(options, supposed, seen, io);
  return 0;
}

async function tellWhatIf(
  options: ObserveCommandOptions,
  supposed: Supposed,
  seen: ReturnType<typeof observed>,
  io: CommandIo,
): Promise<void> {
  const models = seen.models();
  const known = await knowledgeOf(
    options.models,
    models.map(({ model }) => model),
  );
  const words = `had its clients been devices of ${supposed.deviceSpeed} x the server's speed behind ${supposed.up.name}, round trip ${supposed.roundTripMs} ms${
    supposed.edgeSpeed > 0 ? `, with an edge box of ${supposed.edgeSpeed} x its speed beside them` : ""
  }`;
  for (const one of models) {
    const codecs = [...platformCodecs().keys()];
    const found = await whatIf(one, known.get(one.model), supposed, codecs, (text) => io.progress(text));
    if (!found) continue;
    io.out(options.json ? JSON.stringify(whatIfJson(found)) : whatIfText(found, words));
  }
}
