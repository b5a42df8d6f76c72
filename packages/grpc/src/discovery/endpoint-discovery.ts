import { create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { LongshoreError } from "@longshore/core";
import {
  ClusterLoadAssignmentSchema,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
} from "../proto/endpoint_discovery_pb.ts";
import type { GrpcService, MethodCall } from "../service/index.ts";

/*
 * Envoy opens a stream for each cluster, names the cluster, and gets its endpoints whenever they change. It confirms each response, or says why
 * it refuses one, and keeps what it had. While no server answers, it keeps its endpoints: so an empty list is told only after one that was
 * not, or a server that has just started would take all endpoints away.
 */

/** An endpoint of a cluster. */
export interface DiscoveredEndpoint {
  /** An IP address. */
  readonly address: string;
  readonly port: number;
  /** Its name, for TLS and the header `host`. Default: none. */
  readonly hostname?: string;
  /** Endpoints of a priority get requests that name none once all of those before are gone. Default 0. */
  readonly priority?: number;
  /** For filters and for `transport_socket_matches`, by namespace. */
  readonly metadata?: Readonly<Record<string, Readonly<Record<string, string>>>>;
}

/** The endpoints that are known now. */
export interface EndpointSource {
  /** Of a cluster. Undefined for a cluster that is not there. */
  of(cluster: string): readonly DiscoveredEndpoint[] | undefined;
  /** Calls `changed` when endpoints may have changed. */
  watch(changed: () => void): Disposable;
}

const serviceName = "envoy.service.endpoint.v3.EndpointDiscoveryService";
const typeUrl = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";
/** A client names the clusters of its own configuration. */
const mostClusters = 100;

function assignment(clusterName: string, all: readonly DiscoveredEndpoint[]): Uint8Array {
  const priorities = [...new Set(all.map(({ priority = 0 }) => priority))].sort((a, b) => a - b);
  // Envoy takes no gap between priorities.
  const endpoints = priorities.map((wanted, priority) => ({
    priority,
    lbEndpoints: all
      .filter((one) => (one.priority ?? 0) === wanted)
      .map(({ address, port: portValue, hostname = "", metadata }) => ({
        endpoint: { address: { socketAddress: { address, portValue } }, hostname },
        ...(metadata ? { metadata: { filterMetadata: metadata } } : {}),
      })),
  }));
  const message = create(ClusterLoadAssignmentSchema, { clusterName, endpoints });
  return toBinary(ClusterLoadAssignmentSchema, message);
}

function requestIn(bytes: Uint8Array) {
  try {
    return fromBinary(DiscoveryRequestSchema, bytes);
  } catch (cause) {
    const what = `the message is no DiscoveryRequest of ${serviceName}`;
    throw new LongshoreError("invalid-input", "decode", what, { cause });
  }
}

/** One stream of a client. */
class Subscription {
  readonly #call: MethodCall;
  readonly #source: EndpointSource;
  #names: readonly string[] = [];
  /** The last reply, so that only changes are sent. */
  #told = "";
  #version = 0;
  #over = false;
  #wake: () => void = () => undefined;

  constructor(call: MethodCall, source: EndpointSource) {
    this.#call = call;
    this.#source = source;
  }

  async run(): Promise<void> {
    const { call, draining } = this.#call;
    const end = (): void => {
      this.#over = true;
      this.#wake();
    };
    using _watch = this.#source.watch(() => this.#wake());
    for (const signal of [call.abort, draining]) signal.addEventListener("abort", end);
    const reading = this.#read().finally(end);
    // Its failure is thrown at the end.
    reading.catch(() => undefined);
    try {
      while (!this.#over && !call.abort.aborted && !draining.aborted) {
        const changed = new Promise<void>((resolve) => (this.#wake = resolve));
        await this.#tell();
        await changed;
      }
      if (!draining.aborted) await reading;
    } finally {
      for (const signal of [call.abort, draining]) signal.removeEventListener("abort", end);
    }
  }

  async #read(): Promise<void> {
    for (let bytes = await this.#call.next(); bytes; bytes = await this.#call.next()) {
      const { typeUrl: wanted, resourceNames } = requestIn(bytes);
      if (wanted !== "" && wanted !== typeUrl) {
        const what = `only ${typeUrl} is served here`;
        throw new LongshoreError("invalid-input", "decode", what);
      }
      if (resourceNames.length > mostClusters) {
        throw new LongshoreError("invalid-input", "decode", `a stream may name ${mostClusters} clusters`);
      }
      this.#names = resourceNames;
      this.#wake();
    }
  }

  async #tell(): Promise<void> {
    const resources = this.#names.flatMap((name) => {
      const endpoints = this.#source.of(name);
      return endpoints ? [{ name, endpoints }] : [];
    });
    const text = JSON.stringify(resources);
    const isEmpty = resources.every(({ endpoints }) => endpoints.length === 0);
    if (text === this.#told || (isEmpty && this.#told === "")) return;
    this.#told = text;
    const versionInfo = String(++this.#version);
    const message = create(DiscoveryResponseSchema, {
      versionInfo,
      nonce: versionInfo,
      typeUrl,
      resources: resources.map(({ name, endpoints }) => ({ typeUrl, value: assignment(name, endpoints) })),
    });
    await this.#call.send(toBinary(DiscoveryResponseSchema, message));
  }
}

/** Envoy's endpoint discovery (EDS v3, state of the world): the endpoints of clusters, as they come and go. */
export function endpointDiscovery(source: EndpointSource): GrpcService {
  return {
    name: serviceName,
    methods: { StreamEndpoints: (call) => new Subscription(call, source).run() },
  };
}
