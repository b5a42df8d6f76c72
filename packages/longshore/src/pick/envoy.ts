import { isIP } from "node:net";
import { destinationKey, destinationNamespace, firstDestinationKey, subsetNamespace } from "./names.ts";
import { yamlText } from "./yaml-text.ts";

/** Inputs of a configuration for Envoy. */
export interface EnvoyOptions {
  /** Where Envoy listens. */
  readonly host: string;
  readonly port: number;
  /** Where pickers listen: all of them decide alike, and Envoy leaves one that does not answer. */
  readonly pickers: readonly { readonly host: string; readonly port: number }[];
  readonly pickerTls: boolean;
  readonly endpoints: readonly { readonly host: string; readonly port: number; readonly tls: boolean }[];
  /** Without a picker, requests go to the endpoints in turns. Default: they fail with 503. */
  readonly failOpen: boolean;
  /** Endpoints come and go: Envoy sends to the address that the picker names, whichever it is. */
  readonly follows: boolean;
}

const api = "type.googleapis.com/envoy";
const extensions = `${api}.extensions`;

function socket(host: string, port: number): object {
  return { socket_address: { address: host, port_value: port } };
}

function assignment(cluster: string, hosts: readonly { readonly host: string; readonly port: number }[]) {
  const endpoints = hosts.map(({ host, port }) => ({ endpoint: { address: socket(host, port) } }));
  return { cluster_name: cluster, endpoints: [{ lb_endpoints: endpoints }] };
}

/** Envoy takes addresses as they are, and looks names up in a cluster of its own kind. */
function kindOf(hosts: readonly { readonly host: string }[]): object {
  return hosts.every(({ host }) => isIP(host) !== 0)
    ? { type: "STATIC" }
    : { type: "STRICT_DNS", dns_lookup_family: "V4_ONLY" };
}

function tlsSocket(more: object): object {
  return {
    name: "envoy.transport_sockets.tls",
    typed_config: { "@type": `${extensions}.transport_sockets.tls.v3.UpstreamTlsContext`, ...more },
  };
}

function policy(name: string, type: string, more: object): object {
  return {
    typed_extension_config: {
      name: `envoy.load_balancing_policies.${name}`,
      typed_config: { "@type": `${extensions}.load_balancing_policies.${type}`, ...more },
    },
  };
}

function filters(failOpen: boolean): readonly object[] {
  return [
    {
      // A client says nothing about where its request goes.
      name: "envoy.filters.http.header_mutation",
      typed_config: {
        "@type": `${extensions}.filters.http.header_mutation.v3.HeaderMutation`,
        mutations: { request_mutations: [{ remove: destinationKey }, { remove: firstDestinationKey }] },
      },
    },
    {
      name: "envoy.filters.http.ext_proc",
      typed_config: {
        "@type": `${extensions}.filters.http.ext_proc.v3.ExternalProcessor`,
        grpc_service: { envoy_grpc: { cluster_name: "picker" }, timeout: "900s" },
        processing_mode: {
          request_header_mode: "SEND",
          response_header_mode: "SEND",
          request_body_mode: "NONE",
          response_body_mode: "NONE",
          request_trailer_mode: "SKIP",
          response_trailer_mode: "SKIP",
        },
        allow_mode_override: true,
        message_timeout: "2s",
        ...(failOpen ? { failure_mode_allow: true } : { status_on_error: { code: 503 } }),
        response_attributes: ["upstream.address", "response.code_details"],
        metadata_options: {
          forwarding_namespaces: { untyped: [destinationNamespace, subsetNamespace] },
          receiving_namespaces: { untyped: [destinationNamespace] },
        },
      },
    },
    {
      name: "envoy.filters.http.router",
      typed_config: { "@type": `${extensions}.filters.http.router.v3.Router` },
    },
  ];
}

function manager(options: EnvoyOptions): object {
  return {
    "@type": `${extensions}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: "inference",
    http_filters: filters(options.failOpen),
    route_config: {
      virtual_hosts: [
        {
          name: "inference",
          domains: ["*"],
          routes: [
            {
              match: { prefix: "/" },
              route: {
                cluster: "endpoints",
                timeout: "300s",
                retry_policy: {
                  retry_on: "connect-failure,refused-stream,reset-before-request",
                  num_retries: 2,
                },
              },
            },
          ],
        },
      ],
    },
  };
}

function endpointsCluster({ endpoints, follows }: EnvoyOptions): object {
  const tls =
    endpoints[0]?.tls === true
      ? {
          transport_socket: tlsSocket({
            common_tls_context: {
              validation_context: { trusted_ca: { filename: "/etc/ssl/certs/ca-certificates.crt" } },
            },
          }),
        }
      : {};
  if (follows) {
    return {
      name: "endpoints",
      type: "ORIGINAL_DST",
      lb_policy: "CLUSTER_PROVIDED",
      original_dst_lb_config: { use_http_header: true, http_header_name: firstDestinationKey },
      connect_timeout: "1s",
      ...tls,
    };
  }
  const turns = policy("round_robin", "round_robin.v3.RoundRobin", {});
  const chosen = policy("override_host", "override_host.v3.OverrideHost", {
    override_host_sources: [
      { metadata: { key: destinationNamespace, path: [{ key: destinationKey }] } },
      { header: destinationKey },
    ],
    fallback_policy: { policies: [turns] },
  });
  return {
    name: "endpoints",
    ...kindOf(endpoints),
    connect_timeout: "1s",
    load_balancing_policy: { policies: [chosen] },
    load_assignment: assignment("endpoints", endpoints),
    ...tls,
  };
}

function pickerCluster({ pickers, pickerTls }: EnvoyOptions): object {
  return {
    name: "picker",
    ...kindOf(pickers),
    connect_timeout: "1s",
    lb_policy: "ROUND_ROBIN",
    typed_extension_protocol_options: {
      "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
        "@type": `${extensions}.upstreams.http.v3.HttpProtocolOptions`,
        explicit_http_config: { http2_protocol_options: {} },
      },
    },
    // A picker that does not answer is left at once, as long as there is another one.
    outlier_detection: {
      split_external_local_origin_errors: true,
      consecutive_local_origin_failure: 1,
      consecutive_5xx: 3,
      interval: "1s",
      base_ejection_time: "30s",
      max_ejection_percent: 50,
    },
    load_assignment: assignment("picker", pickers),
    // Its certificate signs itself: it encrypts, and says nothing of who the picker is.
    ...(pickerTls ? { transport_socket: tlsSocket({ common_tls_context: { alpn_protocols: ["h2"] } }) } : {}),
  };
}

/** A whole configuration of Envoy 1.35 or later, in YAML. */
export function envoyConfiguration(options: EnvoyOptions): string {
  const configuration = {
    static_resources: {
      listeners: [
        {
          name: "inference",
          address: socket(options.host, options.port),
          filter_chains: [
            {
              filters: [
                {
                  name: "envoy.filters.network.http_connection_manager",
                  typed_config: manager(options),
                },
              ],
            },
          ],
        },
      ],
      clusters: [endpointsCluster(options), pickerCluster(options)],
    },
  };
  const failure = options.failOpen
    ? "Without a picker, requests go to the endpoints in turns (fail open)."
    : "Without a picker, requests fail with 503 (fail closed).";
  const note = `# Envoy with an endpoint picker. ${failure}\n`;
  return note + yamlText(configuration);
}
