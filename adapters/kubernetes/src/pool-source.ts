import { type Clock, LongshoreError, type Random, type RecordSink, type RecordSource } from "@longshore/core";
import type { KubernetesApi, KubernetesObject } from "./api.ts";
import { watchNodes } from "./nodes.ts";
import { type EndpointTerms, type PodFacts, podFacts, podRecords } from "./pods.ts";
import { reflect } from "./reflect.ts";

/*
 * The endpoints of an InferencePool (Gateway API Inference Extension, inference.networking.k8s.io/v1): its ready pods, at each of its
 * ports. Three collections are watched: the one pool, the pods that its selector names, and the nodes for their zones. A changed selector
 * begins a new watch of pods; the endpoints of the old one stay until the new list is there. Nothing is told before all three are known,
 * so that no endpoint is listed without its zone.
 */

/** State of a pool, for display and metrics. */
export interface KubernetesPoolState {
  /** `NAMESPACE/NAME`. */
  readonly pool: string;
  readonly exists: boolean;
  /** Pods that can serve. */
  readonly ready: number;
  /** Pods that the selector names and that cannot serve: not ready, without address, or ending. */
  readonly unready: number;
  /** Sentence for the operator: why there is no endpoint. Undefined if there is one. */
  readonly problem: string | undefined;
}

/** Parameters of a pool's source. */
export interface PoolSourceOptions extends EndpointTerms {
  readonly api: KubernetesApi;
  readonly namespace: string;
  readonly name: string;
  readonly clock: Clock;
  readonly random: Random;
  /** Called whenever the state of the pool may have changed. */
  readonly onState?: (state: KubernetesPoolState) => void;
}

/** The specification of a pool. */
interface PoolFacts {
  /** In the form of the query parameter `labelSelector`; empty selects nothing. */
  readonly selector: string;
  readonly ports: readonly number[];
}

/** The fields of the resource that count here; every one may be missing or wrong. */
interface PoolObject extends KubernetesObject {
  readonly spec?: {
    readonly selector?: { readonly matchLabels?: unknown };
    readonly targetPorts?: readonly { readonly number?: unknown }[];
  };
}

const dnsLabel = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
const dnsName = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

/** Whether a text can name a namespace. */
export function isNamespace(text: string): boolean {
  return dnsLabel.test(text);
}

/** Whether a text can name an object. */
export function isObjectName(text: string): boolean {
  return dnsName.test(text);
}

function poolFacts(object: KubernetesObject): PoolFacts {
  // Fields are checked one by one below.
  const { spec } = object as PoolObject;
  const labels = spec?.selector?.matchLabels;
  const pairs = typeof labels === "object" && labels !== null ? Object.entries(labels) : [];
  const selector = pairs.map(([name, value]) => `${name}=${String(value)}`).toSorted();
  const ports = (Array.isArray(spec?.targetPorts) ? spec.targetPorts : []).flatMap((one) => {
    const port = one?.number;
    return typeof port === "number" && Number.isInteger(port) && port > 0 && port < 65_536 ? [port] : [];
  });
  return { selector: selector.join(","), ports: [...new Set(ports)] };
}

/** The record of a selected pod: its facts if it can serve. */
type Selected = PodFacts | "unready";

/** Follows one pool. */
class Following {
  readonly #options: PoolSourceOptions;
  readonly #sink: RecordSink;
  readonly #pools: AsyncDisposable;
  readonly #nodes: ReturnType<typeof watchNodes>;
  /** `undefined` until the first list of pools; `null` if the pool does not exist. */
  #pool: PoolFacts | null | undefined;
  #pods: AsyncDisposable | undefined;
  /** Undefined until the first list of the present selector. */
  #selected: Map<string, Selected> | undefined;
  #ready = 0;
  /** Failures of the watches, by what they watch. */
  readonly #failures = new Map<"pool" | "pods", LongshoreError>();
  readonly #ending: PromiseLike<unknown>[] = [];

  constructor(options: PoolSourceOptions, sink: RecordSink) {
    this.#options = options;
    this.#sink = sink;
    const { api, clock, random, namespace, name } = options;
    this.#nodes = watchNodes(api, { clock, random }, () => this.#tellAll());
    this.#pools = reflect<PoolFacts>({
      api,
      clock,
      random,
      path: `/apis/inference.networking.k8s.io/v1/namespaces/${namespace}/inferencepools`,
      query: { fieldSelector: `metadata.name=${name}` },
      project: (object) => (object.metadata?.name === name ? poolFacts(object) : undefined),
      sink: {
        all: (pools) => this.#poolIs([...pools.values()][0] ?? null),
        put: (_key, pool) => this.#poolIs(pool),
        drop: () => this.#poolIs(null),
        confirmed: () => this.#confirmed("pool"),
        failed: (error) => this.#failed("pool", error),
      },
    });
  }

  async close(): Promise<void> {
    await Promise.all([
      this.#pools[Symbol.asyncDispose](),
      this.#nodes[Symbol.asyncDispose](),
      this.#pods?.[Symbol.asyncDispose](),
      ...this.#ending,
    ]);
  }

  #poolIs(now: PoolFacts | null): void {
    const before = this.#pool;
    this.#failures.delete("pool");
    this.#pool = now;
    const selector = now?.selector ?? "";
    if (before === undefined || (before?.selector ?? "") !== selector) this.#select(selector);
    else if (before?.ports.join() !== now?.ports.join()) this.#tellAll();
    else this.#confirmed("pool");
  }

  /** Watches the pods of a selector. An empty one selects nothing, although the API would take it for all pods. */
  #select(selector: string): void {
    if (this.#pods) this.#ending.push(this.#pods[Symbol.asyncDispose]());
    this.#pods = undefined;
    this.#failures.delete("pods");
    if (selector === "") {
      this.#selected = new Map();
      this.#ready = 0;
      this.#tellAll();
      return;
    }
    this.#selected = undefined;
    const { api, clock, random, namespace } = this.#options;
    const pods: AsyncDisposable = reflect<Selected>({
      api,
      clock,
      random,
      path: `/api/v1/namespaces/${namespace}/pods`,
      query: { labelSelector: selector },
      project: (object) => podFacts(object) ?? "unready",
      sink: {
        all: (found) => {
          if (this.#pods !== pods) return;
          this.#failures.delete("pods");
          this.#selected = new Map(found);
          this.#ready = 0;
          for (const one of found.values()) if (one !== "unready") this.#ready++;
          this.#tellAll();
        },
        put: (key, pod) => (this.#pods === pods ? this.#podIs(key, pod) : undefined),
        drop: (key) => (this.#pods === pods ? this.#podIs(key, undefined) : undefined),
        confirmed: () => (this.#pods === pods ? this.#confirmed("pods") : undefined),
        failed: (error) => (this.#pods === pods ? this.#failed("pods", error) : undefined),
      },
    });
    this.#pods = pods;
  }

  #records(pod: Selected | undefined) {
    if (pod === undefined || pod === "unready") return [];
    return podRecords(pod, this.#pool?.ports ?? [], this.#nodes.of(pod.node), this.#options);
  }

  #podIs(key: string, now: Selected | undefined): void {
    const selected = this.#selected;
    if (!selected) return;
    const before = selected.get(key);
    if (now === undefined) selected.delete(key);
    else selected.set(key, now);
    const serves = (pod: Selected | undefined): number => (pod === undefined || pod === "unready" ? 0 : 1);
    this.#ready += serves(now) - serves(before);
    if (this.#isKnown) {
      const records = this.#records(now);
      const ids = new Set(records.map(({ signed }) => signed.body.id));
      for (const { signed } of this.#records(before))
        if (!ids.has(signed.body.id)) this.#sink.drop(signed.body.id);
      for (const record of records) this.#sink.put(record);
    }
    this.#tellState();
  }

  get #isKnown(): boolean {
    return this.#pool !== undefined && this.#selected !== undefined && this.#nodes.settled;
  }

  #tellAll(): void {
    if (!this.#isKnown) return;
    this.#sink.all([...(this.#selected?.values() ?? [])].flatMap((pod) => this.#records(pod)));
    const [failure] = this.#failures.values();
    if (failure) this.#sink.failed(failure);
    this.#tellState();
  }

  #confirmed(watched: "pool" | "pods"): void {
    this.#failures.delete(watched);
    if (this.#isKnown && this.#failures.size === 0) this.#sink.confirmed();
  }

  #failed(watched: "pool" | "pods", error: LongshoreError): void {
    this.#failures.set(watched, error);
    this.#sink.failed(error);
    this.#tellState();
  }

  #tellState(): void {
    const { namespace, name, onState } = this.#options;
    if (!onState) return;
    const pool = `${namespace}/${name}`;
    const selected = this.#selected?.size ?? 0;
    const [failure] = this.#failures.values();
    onState({
      pool,
      exists: this.#pool !== undefined && this.#pool !== null,
      ready: this.#ready,
      unready: selected - this.#ready,
      problem: this.#problem(pool, selected, failure),
    });
  }

  #problem(pool: string, selected: number, failure: LongshoreError | undefined): string | undefined {
    if (failure) return failure.message;
    if (this.#pool === undefined) return undefined;
    if (this.#pool === null) return `InferencePool ${pool} does not exist`;
    const { selector, ports } = this.#pool;
    if (selector === "") return `InferencePool ${pool} has an empty selector, which selects no pod`;
    if (ports.length === 0) return `InferencePool ${pool} has no target port`;
    if (selected === 0) return `InferencePool ${pool} selects no pod: none has the labels ${selector}`;
    if (this.#ready === 0)
      return `none of the ${selected} pods of InferencePool ${pool} is ready and has an address`;
    return undefined;
  }
}

/**
 * The ready pods of an InferencePool as a directory. The zone of an endpoint is the region and zone of its node
 * (`topology.kubernetes.io/region` and `/zone`), or of the pod's own labels where nodes may not be read. Throws `invalid-configuration` for
 * names that Kubernetes does not allow.
 *
 * @example
 * ```ts
 * import { connectKubernetes, poolSource } from "@longshore/kubernetes";
 * import { systemClock, systemRandom } from "@longshore/nodejs";
 *
 * export const source = () =>
 *   poolSource({
 *     api: connectKubernetes(),
 *     namespace: "shop",
 *     name: "ocr",
 *     trust: "operated",
 *     clock: systemClock(),
 *     random: systemRandom(),
 *   });
 * ```
 */
export function poolSource(options: PoolSourceOptions): RecordSource {
  const { namespace, name } = options;
  if (!isNamespace(namespace) || !isObjectName(name)) {
    const text = `a pool is NAMESPACE/NAME, such as shop/ocr, not '${`${namespace}/${name}`.slice(0, 80)}'`;
    throw new LongshoreError("invalid-configuration", "resolve", text);
  }
  return {
    name: `pool ${namespace}/${name}`,
    follow(sink) {
      const following = new Following(options, sink);
      return { [Symbol.asyncDispose]: () => following.close() };
    },
  };
}
