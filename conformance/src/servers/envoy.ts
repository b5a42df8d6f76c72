import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { envoy } from "../install/index.ts";
import { freePort, startServerProcess } from "./process.ts";
import type { RunningPeer } from "./served-model.ts";

/** How Envoy is started. */
export interface EnvoyOptions {
  /** `host:port` of the servers that it takes in turns. */
  readonly upstreams: readonly string[];
  /** An empty folder for its configuration. */
  readonly folder: string;
  readonly cores?: readonly number[];
}

function socket(address: string): object {
  const [host = "", port = ""] = address.split(":");
  return { socket_address: { address: host, port_value: Number(port) } };
}

/** A plain proxy over HTTP/1.1: one route to one cluster, round robin, no retries, nothing buffered. */
function configuration(port: number, upstreams: readonly string[]): object {
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
          routes: [{ match: { prefix: "/" }, route: { cluster: "servers", timeout: "60s" } }],
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
        {
          name: "servers",
          type: "STATIC",
          connect_timeout: "1s",
          lb_policy: "ROUND_ROBIN",
          load_assignment: {
            cluster_name: "servers",
            endpoints: [{ lb_endpoints: upstreams.map((one) => ({ endpoint: { address: socket(one) } })) }],
          },
        },
      ],
    },
  };
}

/** Starts the real Envoy as a plain proxy before some servers. Throws `Unavailable`. */
export async function startEnvoy({ upstreams, folder, cores }: EnvoyOptions): Promise<RunningPeer> {
  const port = await freePort();
  const file = join(folder, "envoy.json");
  await writeFile(file, JSON.stringify(configuration(port, upstreams)));
  const running = await startEnvoyOn({ file, port, ...(cores ? { cores } : {}) });
  return { ...running, settings: "round robin, 1 worker thread" };
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
