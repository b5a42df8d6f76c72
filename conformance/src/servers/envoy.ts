import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { envoy } from "../install/index.ts";
import { freePort, startServerProcess } from "./process.ts";
import type { RunningPeer } from "./served-model.ts";

/** How Envoy chooses among servers by itself. */
export type EnvoyPolicy = "round robin" | "least request" | "weighted by load reports";

/** How Envoy is started. */
export interface EnvoyOptions {
  /** Default `round robin`. */
  readonly policy?: EnvoyPolicy;
  /** `host:port` of the servers that it takes in turns. */
  readonly upstreams: readonly string[];
  /** The same for gRPC. Default: gRPC goes to `upstreams`. */
  readonly grpcUpstreams?: readonly string[];
  /** An empty folder for its configuration. */
  readonly folder: string;
  readonly cores?: readonly number[];
}

function socket(address: string): object {
  const [host = "", port = ""] = address.split(":");
  return { socket_address: { address: host, port_value: Number(port) } };
}

/** The policy as a part of a cluster. Load reports are used as soon as they come, and weights change every second. */
function policyOf(policy: EnvoyPolicy): object {
  if (policy === "round robin") return { lb_policy: "ROUND_ROBIN" };
  // As many choices as a few servers have: a full look at all of them.
  if (policy === "least request")
    return { lb_policy: "LEAST_REQUEST", least_request_lb_config: { choice_count: 4 } };
  const name = "envoy.load_balancing_policies.client_side_weighted_round_robin";
  const type =
    "type.googleapis.com/envoy.extensions.load_balancing_policies.client_side_weighted_round_robin.v3.ClientSideWeightedRoundRobin";
  const typed = { "@type": type, blackout_period: "1s", weight_update_period: "1s" };
  return { load_balancing_policy: { policies: [{ typed_extension_config: { name, typed_config: typed } }] } };
}

function cluster(name: string, upstreams: readonly string[], policy: EnvoyPolicy, more: object = {}): object {
  return {
    name,
    type: "STATIC",
    connect_timeout: "1s",
    ...policyOf(policy),
    ...more,
    load_assignment: {
      cluster_name: name,
      endpoints: [{ lb_endpoints: upstreams.map((one) => ({ endpoint: { address: socket(one) } })) }],
    },
  };
}

const overHttp2 = {
  typed_extension_protocol_options: {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
};

/** A plain proxy: one route to one cluster over HTTP/1.1, and one for gRPC where that is elsewhere; no retries, nothing buffered. */
function configuration(
  port: number,
  { upstreams, grpcUpstreams }: Pick<EnvoyOptions, "upstreams" | "grpcUpstreams">,
  policy: EnvoyPolicy,
): object {
  const router = {
    name: "envoy.filters.http.router",
    typed_config: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
  };
  const manager = {
    "@type":
      "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
    stat_prefix: "front",
    http_filters: [router],
    route_config: {
      virtual_hosts: [
        {
          name: "all",
          domains: ["*"],
          routes: [
            ...(grpcUpstreams
              ? [{ match: { prefix: "/", grpc: {} }, route: { cluster: "servers-grpc", timeout: "60s" } }]
              : []),
            { match: { prefix: "/" }, route: { cluster: "servers", timeout: "60s" } },
          ],
          // Servers report their load in the format that a request names.
          ...(policy === "weighted by load reports"
            ? {
                request_headers_to_add: [{ header: { key: "endpoint-load-metrics-format", value: "TEXT" } }],
              }
            : {}),
        },
      ],
    },
  };
  return {
    static_resources: {
      listeners: [
        {
          name: "front",
          address: socket(`127.0.0.1:${port}`),
          filter_chains: [
            { filters: [{ name: "envoy.filters.network.http_connection_manager", typed_config: manager }] },
          ],
        },
      ],
      clusters: [
        cluster("servers", upstreams, policy),
        ...(grpcUpstreams ? [cluster("servers-grpc", grpcUpstreams, policy, overHttp2)] : []),
      ],
    },
  };
}

/** Starts the real Envoy as a plain proxy before some servers. Throws `Unavailable`. */
export async function startEnvoy({
  upstreams,
  grpcUpstreams,
  folder,
  cores,
  policy = "round robin",
}: EnvoyOptions): Promise<RunningPeer> {
  const port = await freePort();
  const file = join(folder, "envoy.json");
  await writeFile(
    file,
    JSON.stringify(configuration(port, { upstreams, ...(grpcUpstreams ? { grpcUpstreams } : {}) }, policy)),
  );
  const running = await startEnvoyOn({ file, port, ...(cores ? { cores } : {}) });
  return { ...running, settings: `${policy}, 1 worker thread` };
}

/** Starts the real Envoy with a configuration whose listener has that port. Throws `Unavailable`. */
export async function startEnvoyOn({
  file,
  port,
  cores,
}: {
  readonly file: string;
  readonly port: number;
  readonly cores?: readonly number[];
}): Promise<RunningPeer> {
  const program = await envoy();
  const started = await startServerProcess({
    command: program.path,
    args: ["-c", file, "--concurrency", "1", "--use-dynamic-base-id", "--log-level", "error"],
    env: program.env,
    ...(cores ? { cores } : {}),
    readyUrl: `http://127.0.0.1:${port}/v2/health/ready`,
  });
  return {
    name: "envoy",
    http: `127.0.0.1:${port}`,
    settings: "1 worker thread",
    pid: started.pid,
    close: () => started.close(),
  };
}
