import {
  type Call,
  type CodecId,
  type CodecSet,
  type Clock,
  type Credentials,
  type Endpoint,
  type EndpointInfo,
  endCut,
  type InferenceResponse,
  type Inputs,
  LongshoreError,
  type ModelDescription,
  type Random,
  type Reason,
  type Rules,
  silentObserver,
  startCut,
  type Transport,
} from "@longshore/core";
import { checkCall, createTableCrc32, oipClient, randomId, untilEnded } from "@longshore/core/internal";
import { ensureDisposal, systemClock, systemRandom } from "../device/index.ts";
import { fetchTransport } from "../http/index.ts";
import { toTensors } from "./inputs.ts";

/** How a remote client talks to its server. Everything is optional. */
export interface ConnectOptions {
  /** The server speaks only the plain Open Inference Protocol (Triton, KServe, MLServer). Default false. */
  readonly plain?: boolean;
  /** `json` for servers without the binary tensor extension. Default `binary`. */
  readonly wire?: "binary" | "json";
  /** Codecs that inputs may be sent in. Default: none but raw. */
  readonly codecs?: CodecSet;
  /** Shown to the server with every request. */
  readonly credentials?: Credentials;
  /** Sent with every request, such as what a gateway routes by. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly clock?: Clock;
  readonly random?: Random;
  /** Default: `fetch`. */
  readonly transport?: Transport;
}

/** The limits of one call. */
export interface RemoteLimits {
  /** From now, in milliseconds. */
  readonly deadlineMs?: number;
  readonly version?: string;
  readonly variant?: string;
  readonly rules?: Rules;
  /** Ends the call with `cancelled` when it fires. */
  readonly signal?: AbortSignal;
  /** Codec for each input that shall not travel raw. */
  readonly codecs?: Readonly<Record<string, CodecId>>;
}

/** A client that runs nothing itself. */
export interface RemoteClient {
  /** Throws LongshoreError. Inputs are what an app holds, or tensors; they are borrowed until the answer is here. */
  infer(model: string, inputs: Inputs, limits?: RemoteLimits): Promise<InferenceResponse>;
  /** Throws `unknown-model`. Asked once per model and version, then remembered until the server has another one. */
  describe(model: string, version?: string): Promise<ModelDescription>;
  close(): Promise<void>;
}

/** Members of options and limits, each 1, which takes the fewest bytes of a page: one that is misspelt would silently not hold. */
const optionNames: Readonly<Record<keyof ConnectOptions, 1>> = {
  plain: 1,
  wire: 1,
  codecs: 1,
  credentials: 1,
  headers: 1,
  clock: 1,
  random: 1,
  transport: 1,
};
const limitNames: Readonly<Record<keyof RemoteLimits, 1>> = {
  deadlineMs: 1,
  version: 1,
  variant: 1,
  rules: 1,
  signal: 1,
  codecs: 1,
};

function refused(reason: Reason, why: string): LongshoreError {
  return new LongshoreError(reason, "resolve", why);
}

/** Refuses members that do not exist: a caller in plain JavaScript has no compiler to say so. */
function checkNames(reason: Reason, what: string, given: object, known: object): void {
  for (const name in given) {
    if (!(name in known)) {
      throw refused(reason, `${what} have no ${name}; they have ${Object.keys(known).join(", ")}`);
    }
  }
}

/** Refuses limits that cannot be kept. Throws `invalid-input`. */
function checkLimits(limits: RemoteLimits): void {
  checkNames("invalid-input", "limits", limits, limitNames);
  const { deadlineMs = 0, signal } = limits;
  if (typeof deadlineMs !== "number" || Number.isNaN(deadlineMs)) {
    throw refused("invalid-input", "limits.deadlineMs must be a number");
  }
  if (signal && !signal.addEventListener)
    throw refused("invalid-input", "limits.signal must be an AbortSignal");
}

/** Throws `invalid-configuration` for what is no address. Some supported browsers have no `URL.canParse`. */
function hostOf(address: string): string {
  try {
    const { protocol, host } = new URL(address);
    if (/^https?:$/.test(protocol)) return host;
  } catch {
    // Refused below, in words that say what is needed.
  }
  throw refused(
    "invalid-configuration",
    `connect takes an address such as https://host:8000; given: ${address}`,
  );
}

function infoOf(address: string, plain: boolean, codecs: CodecSet): EndpointInfo {
  return {
    id: hostOf(address),
    tier: "cloud",
    zone: "unknown",
    trust: "none",
    address,
    codecs: ["raw", ...codecs.keys()],
    state: plain ? "resident" : "movable",
    offers: !plain,
    rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 0 },
  };
}

/** The errors after another version has replaced the described one, or has other inputs. */
const otherThere: readonly Reason[] = [
  "unknown-model",
  "unknown-version",
  "unknown-variant",
  "invalid-input",
];

function keyOf(model: string, version: string | undefined): string {
  return JSON.stringify([model, version]);
}

class Remote implements RemoteClient {
  readonly #endpoint: Endpoint;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #descriptions = new Map<string, Promise<ModelDescription>>();

  constructor(endpoint: Endpoint, clock: Clock, random: Random) {
    this.#endpoint = endpoint;
    this.#clock = clock;
    this.#random = random;
  }

  async infer(model: string, inputs: Inputs, limits: RemoteLimits = {}): Promise<InferenceResponse> {
    checkLimits(limits);
    const call = this.#call(limits);
    checkCall(call, this.#clock, "resolve");
    const asked = this.describe(model, limits.version);
    const description = await untilEnded(asked, call, this.#clock, "resolve");
    try {
      return await this.#run(model, description, inputs, limits, call);
    } catch (thrown) {
      if (!LongshoreError.is(thrown) || !otherThere.includes(thrown.reason)) throw thrown;
      const key = keyOf(model, limits.version);
      if (this.#descriptions.get(key) === asked) this.#descriptions.delete(key);
      const again = this.describe(model, limits.version);
      const now = await untilEnded(again, call, this.#clock, "resolve").catch(() => {
        checkCall(call, this.#clock, "resolve");
        throw thrown;
      });
      if (now.version === description.version && now.digest === description.digest) throw thrown;
      return this.#run(model, now, inputs, limits, call);
    }
  }

  describe(model: string, version?: string): Promise<ModelDescription> {
    const key = keyOf(model, version);
    const known = this.#descriptions.get(key);
    if (known) return known;
    const asked = this.#ask(model, version);
    this.#descriptions.set(key, asked);
    // A failure is not remembered: the server may be there next time.
    asked.catch(() => this.#descriptions.delete(key));
    return asked;
  }

  close(): Promise<void> {
    return this.#endpoint.close();
  }

  async #run(
    model: string,
    { version, digest, variants, inputs: ports }: ModelDescription,
    inputs: Inputs,
    { variant = variants[0]?.name ?? "default", codecs = {} }: RemoteLimits,
    call: Call,
  ): Promise<InferenceResponse> {
    const segment = { model, version, digest, variant, from: startCut, to: endCut };
    return this.#endpoint.infer({ segment, inputs: toTensors(inputs, ports), codecs }, call);
  }

  async #ask(model: string, version: string | undefined): Promise<ModelDescription> {
    const knowledge = await this.#endpoint.describe(model, version, this.#call({}));
    if (knowledge) return knowledge.description;
    throw refused("unknown-model", `${this.#endpoint.info.id} serves no model '${model}'`);
  }

  #call({ deadlineMs, rules, signal }: RemoteLimits): Call {
    return {
      id: randomId(this.#random),
      abort: signal ?? new AbortController().signal,
      deadlineMs: deadlineMs === undefined ? Infinity : this.#clock.nowMs() + deadlineMs,
      tenant: "local",
      rules: rules ?? { dataClass: "unknown", leastTrust: "none" },
      path: [],
    };
  }
}

/**
 * A client of one server, for pages that only ever run models there: no engine, no planner, a few kilobytes. Connects to
 * nothing yet; the first call does.
 *
 * @example
 * ```ts
 * import { connect } from "@longshore/web";
 *
 * const client = connect("http://127.0.0.1:8000");
 * const { outputs } = await client.infer("double", { x: new Float32Array([3, 4]) });
 * console.log(outputs.get("y")?.spec.shape.join("x")); // 1x2
 * await client.close();
 * ```
 */
export function connect(address: string, options: ConnectOptions = {}): RemoteClient {
  checkNames("invalid-configuration", "connect's options", options, optionNames);
  ensureDisposal();
  const clock = options.clock ?? systemClock();
  const random = options.random ?? systemRandom();
  const codecs: CodecSet = options.codecs ?? new Map();
  const endpoint = oipClient({
    info: infoOf(address, options.plain ?? false, codecs),
    transport:
      options.transport ??
      fetchTransport({
        address,
        clock,
        ...(options.credentials ? { credentials: options.credentials } : {}),
      }),
    codecs,
    crc32: createTableCrc32(),
    clock,
    random,
    observer: silentObserver,
    ...(options.wire ? { wire: options.wire } : {}),
    ...(options.headers ? { headers: options.headers } : {}),
  });
  return new Remote(endpoint, clock, random);
}
