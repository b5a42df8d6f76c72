import { isIP } from "node:net";
import { loadHeader, orcaHeader, tookHeader } from "@longshore/core/internal";
import { repliesHeader, streamInferPath } from "@longshore/grpc";
import {
  destinationKey,
  destinationNamespace,
  grpcCluster,
  httpCluster,
  loggedKey,
  loggedNamespace,
  modelHeader,
  socketMatchNamespace,
  subsetNamespace,
  tlsMatch,
} from "./names.ts";
import { yamlText } from "./yaml-text.ts";

/** A server. */
export interface EnvoyEndpoint {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
  /** It is outside the pool: without a picker it gets requests only where the pool has no endpoint. */
  readonly spill: boolean;
}

/** A port that checks requests. */
export interface AuthzAddress {
  readonly host: string;
  readonly port: number;
  readonly tls: boolean;
}

/** Inputs of a configuration for Envoy. */
export interface EnvoyOptions {
  /** Where Envoy listens. */
  readonly host: string;
  readonly port: number;
  /** Where pickers listen: all of them decide alike, and Envoy leaves one that does not answer. */
  readonly pickers: readonly { readonly host: string; readonly port: number }[];
  readonly pickerTls: boolean;
  readonly endpoints: readonly EnvoyEndpoint[];
  /** The same servers where they speak gRPC. Empty: gRPC is not routed. */
  readonly grpcEndpoints: EnvoyOptions["endpoints"];
  /** Servers speak gRPC, though none is known yet. */
  readonly grpc: boolean;
  /** Without a picker, requests go to the endpoints in turns. Default: they fail with 503. */
  readonly failOpen: boolean;
  /** Where requests are checked before anything else (`longshore authz`). Default: nowhere. */
  readonly authz: AuthzAddress | undefined;
  /** Endpoints come and go: Envoy learns them from the picker (EDS). */
  readonly follows: boolean;
  /** The picker limits the requests under way at an endpoint. */
  readonly isLimited: boolean;
}

const api = "type.googleapis.com/envoy";
const extensions = `${api}.extensions`;

function socket(host: string, port: number): object {
  return { socket_address: { address: host, port_value: port } };
}

type Host = Pick<EnvoyEndpoint, "host" | "port"> & Partial<EnvoyEndpoint>;

function assignment(cluster: string, hosts: readonly Host[]) {
  const lists = [hosts.filter(({ spill }) => spill !== true), hosts.filter(({ spill }) => spill === true)];
  const endpoints = lists.flatMap((list, priority) => {
    if (list.length === 0 && priority > 0) return [];
    const endpointsOf = list.map(({ host, port, tls }) => ({
      endpoint: { address: socket(host, port), ...(isIP(host) === 0 ? { hostname: host } : {}) },
      ...(tls === true ? { metadata: { filter_metadata: { [socketMatchNamespace]: tlsMatch } } } : {}),
    }));
    return [{ ...(priority > 0 ? { priority } : {}), lb_endpoints: endpointsOf }];
  });
  return { cluster_name: cluster, endpoints };
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

const headerModes = {
  request_header_mode: "SEND",
  response_header_mode: "SEND",
  request_body_mode: "NONE",
  response_body_mode: "NONE",
  request_trailer_mode: "SKIP",
  response_trailer_mode: "SKIP",
};

const processorFilter = "envoy.filters.http.ext_proc";

/** Denies everything while the check does not answer. */
const authzFilter = {
  name: "envoy.filters.http.ext_authz",
  typed_config: {
    "@type": `${extensions}.filters.http.ext_authz.v3.ExtAuthz`,
    transport_api_version: "V3",
    grpc_service: { envoy_grpc: { cluster_name: "authz" }, timeout: "2s" },
    failure_mode_allow: false,
    status_on_error: { code: 503 },
  },
};

const routerFilter = {
  name: "envoy.filters.http.router",
  typed_config: { "@type": `${extensions}.filters.http.router.v3.Router` },
};

function filters({ failOpen, authz }: EnvoyOptions): readonly object[] {
  return [
    ...(authz ? [authzFilter] : []),
    {
      // A client says nothing about where its request goes.
      name: "envoy.filters.http.header_mutation",
      typed_config: {
        "@type": `${extensions}.filters.http.header_mutation.v3.HeaderMutation`,
        mutations: { request_mutations: [{ remove: destinationKey }] },
      },
    },
    {
      name: processorFilter,
      typed_config: {
        "@type": `${extensions}.filters.http.ext_proc.v3.ExternalProcessor`,
        grpc_service: { envoy_grpc: { cluster_name: "picker" }, timeout: "900s" },
        processing_mode: headerModes,
        allow_mode_override: true,
        message_timeout: "1s",
        ...(failOpen ? { failure_mode_allow: true } : { status_on_error: { code: 503 } }),
        response_attributes: ["upstream.address", "response.code_details"],
        metadata_options: {
          forwarding_namespaces: { untyped: [destinationNamespace, subsetNamespace] },
          receiving_namespaces: { untyped: [destinationNamespace, loggedNamespace] },
        },
      },
    },
    routerFilter,
  ];
}

const retries = { retry_on: "connect-failure,refused-stream,reset-before-request", num_retries: 2 };

function overrides(more: object): object {
  return {
    [processorFilter]: {
      "@type": `${extensions}.filters.http.ext_proc.v3.ExtProcPerRoute`,
      overrides: more,
    },
  };
}

/** How gRPC is processed besides headers. Its status is in the trailers of a reply. */
function processed(modes: object): object {
  return overrides({ processing_mode: { ...headerModes, response_trailer_mode: "SEND", ...modes } });
}

/**
 * Replies pass without the picker, which reads the access log. Trailers, which replies over HTTP hardly have, keep Envoy's call open
 * until the request has ended: so the picker learns the end of requests without an entry.
 */
const logged = overrides({
  processing_mode: { ...headerModes, response_header_mode: "SKIP", response_trailer_mode: "SEND" },
  grpc_initial_metadata: [{ key: repliesHeader, value: "logged" }],
});

/** The access log for one picker: requests that it, or a picker beside it, has sent on. Envoy does not wait for it. */
function accessLogTo(cluster: string): object {
  return {
    name: "envoy.access_loggers.http_grpc",
    filter: {
      metadata_filter: {
        matcher: {
          filter: loggedNamespace,
          path: [{ key: loggedKey }],
          value: { present_match: true },
        },
        match_if_key_not_found: false,
      },
    },
    typed_config: {
      "@type": `${extensions}.access_loggers.grpc.v3.HttpGrpcAccessLogConfig`,
      common_config: {
        log_name: "longshore-pick",
        transport_api_version: "V3",
        grpc_service: { envoy_grpc: { cluster_name: cluster } },
        // Each entry at once: what is under way is told as late as entries are.
        buffer_size_bytes: 0,
      },
      additional_response_headers_to_log: [
        loadHeader,
        orcaHeader,
        tookHeader,
        "server-timing",
        "retry-after",
      ],
    },
  };
}

/**
 * Clusters of one picker each, for logs. Undefined where replies pass through the picker: a name may stand for several pickers, and the log
 * has to reach the one that chose; and a limit on requests under way needs the end of each before the next request.
 */
function logClusters({ pickers, isLimited }: EnvoyOptions): readonly string[] | undefined {
  if (isLimited || pickers.some(({ host }) => isIP(host) === 0)) return undefined;
  return pickers.length === 1 ? ["picker"] : pickers.map((_, index) => `picker-${index + 1}`);
}

/** The picker reads the model of a call from a header, else from the beginning of its first message. */
function grpcRoutes(failOpen: boolean): readonly object[] {
  const route = {
    cluster: grpcCluster,
    auto_host_rewrite: true,
    timeout: "0s",
    max_stream_duration: { grpc_timeout_header_max: "0s" },
    retry_policy: retries,
  };
  const hasModel = { headers: [{ name: modelHeader, present_match: true }] };
  // A stream may wait for an answer to its first message, so its body cannot be held. Envoy cannot fail open where a picker has the body.
  const streams = failOpen
    ? processed({})
    : processed({ request_body_mode: "FULL_DUPLEX_STREAMED", request_trailer_mode: "SEND" });
  return [
    { match: { prefix: "/", grpc: {}, ...hasModel }, route, typed_per_filter_config: processed({}) },
    { match: { path: streamInferPath, grpc: {} }, route, typed_per_filter_config: streams },
    {
      match: { prefix: "/", grpc: {} },
      route,
      typed_per_filter_config: processed({ request_body_mode: "BUFFERED_PARTIAL" }),
    },
  ];
}

function manager(
  httpFilters: readonly object[],
  routes: readonly object[],
  accessLogs: readonly object[] = [],
): object {
  return {
    "@type": `${extensions}.filters.network.http_connection_manager.v3.HttpConnectionManager`,
    stat_prefix: "inference",
    http_filters: httpFilters,
    ...(accessLogs.length === 0 ? {} : { access_log: accessLogs }),
    route_config: { virtual_hosts: [{ name: "inference", domains: ["*"], routes }] },
  };
}

/** Only names are rewritten: an address stays as the client wrote it. */
const plainRoute = {
  match: { prefix: "/" },
  route: { cluster: httpCluster, auto_host_rewrite: true, timeout: "300s", retry_policy: retries },
};

function listener({ host, port }: Pick<EnvoyOptions, "host" | "port">, typedConfig: object): object {
  const name = "envoy.filters.network.http_connection_manager";
  return {
    name: "inference",
    address: socket(host, port),
    filter_chains: [{ filters: [{ name, typed_config: typedConfig }] }],
  };
}

const http2 = {
  typed_extension_protocol_options: {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": `${extensions}.upstreams.http.v3.HttpProtocolOptions`,
      explicit_http_config: { http2_protocol_options: {} },
    },
  },
};

/** The endpoints as pickers know them. Envoy keeps the last that it was told while no picker answers. */
const discovered = {
  type: "EDS",
  eds_cluster_config: {
    eds_config: {
      resource_api_version: "V3",
      initial_fetch_timeout: "5s",
      api_config_source: {
        api_type: "GRPC",
        transport_api_version: "V3",
        grpc_services: [{ envoy_grpc: { cluster_name: "picker" } }],
      },
    },
  },
};

function endpointsCluster(name: string, endpoints: readonly EnvoyEndpoint[], follows: boolean): object {
  const isGrpc = name === grpcCluster;
  const encrypted = {
    name: "tls",
    match: tlsMatch,
    transport_socket: tlsSocket({
      auto_host_sni: true,
      auto_sni_san_validation: true,
      common_tls_context: {
        ...(isGrpc ? { alpn_protocols: ["h2"] } : {}),
        validation_context: { trusted_ca: { filename: "/etc/ssl/certs/ca-certificates.crt" } },
      },
    }),
  };
  const turns = policy("round_robin", "round_robin.v3.RoundRobin", {});
  const chosen = policy("override_host", "override_host.v3.OverrideHost", {
    override_host_sources: [
      { metadata: { key: destinationNamespace, path: [{ key: destinationKey }] } },
      { header: destinationKey },
    ],
    fallback_policy: { policies: [turns] },
  });
  return {
    name,
    ...(follows ? discovered : { ...kindOf(endpoints), load_assignment: assignment(name, endpoints) }),
    connect_timeout: "1s",
    load_balancing_policy: { policies: [chosen] },
    ...(follows || endpoints.some(({ tls }) => tls) ? { transport_socket_matches: [encrypted] } : {}),
    ...(isGrpc ? http2 : {}),
  };
}

/** A cluster of ours over gRPC. */
function ownCluster(
  name: string,
  hosts: readonly { readonly host: string; readonly port: number }[],
  tls: boolean,
): object {
  return {
    name,
    ...kindOf(hosts),
    connect_timeout: "1s",
    lb_policy: "ROUND_ROBIN",
    ...http2,
    // One that hangs refuses nothing: without these checks each request would wait there for as long as a message may take.
    health_checks: [
      {
        timeout: "0.25s",
        interval: "0.25s",
        unhealthy_interval: "0.25s",
        unhealthy_threshold: 1,
        healthy_threshold: 1,
        no_traffic_interval: "0.25s",
        grpc_health_check: {},
      },
    ],
    close_connections_on_host_health_failure: true,
    // One that does not answer is left at once, as long as there is another one.
    outlier_detection: {
      split_external_local_origin_errors: true,
      consecutive_local_origin_failure: 1,
      consecutive_5xx: 3,
      interval: "1s",
      base_ejection_time: "30s",
      max_ejection_percent: 50,
    },
    load_assignment: assignment(name, hosts),
    // Its certificate signs itself: it encrypts, and says nothing of its holder.
    ...(tls ? { transport_socket: tlsSocket({ common_tls_context: { alpn_protocols: ["h2"] } }) } : {}),
  };
}

function authzCluster({ host, port, tls }: AuthzAddress): object {
  return ownCluster("authz", [{ host, port }], tls);
}

/** A whole configuration of Envoy 1.35 or later, in YAML. */
export function envoyConfiguration(options: EnvoyOptions): string {
  const { endpoints, grpcEndpoints, grpc, follows, failOpen, authz, pickers, pickerTls } = options;
  const logs = logClusters(options);
  const plain = logs ? { ...plainRoute, typed_per_filter_config: logged } : plainRoute;
  const routes = [...(grpc ? grpcRoutes(failOpen) : []), plain];
  const configuration = {
    ...(follows ? { node: { id: "inference", cluster: "inference" } } : {}),
    static_resources: {
      listeners: [listener(options, manager(filters(options), routes, logs?.map(accessLogTo)))],
      clusters: [
        endpointsCluster(httpCluster, endpoints, follows),
        ...(grpc ? [endpointsCluster(grpcCluster, grpcEndpoints, follows)] : []),
        ownCluster("picker", pickers, pickerTls),
        ...(pickers.length === 1 ? [] : (logs ?? [])).map((name, index) =>
          ownCluster(name, pickers.slice(index, index + 1), pickerTls),
        ),
        ...(authz ? [authzCluster(authz)] : []),
      ],
    },
  };
  const failure = failOpen
    ? "Without a picker, requests go to the endpoints in turns (fail open)."
    : "Without a picker, requests fail with 503 (fail closed).";
  const note = `# Envoy with an endpoint picker. ${failure}\n`;
  return note + yamlText(configuration);
}

/** The same without a picker: requests are checked, and go to the servers in turns. */
export function authzConfiguration(
  options: Pick<EnvoyOptions, "host" | "port" | "endpoints"> & { readonly authz: AuthzAddress },
): string {
  const configuration = {
    static_resources: {
      listeners: [listener(options, manager([authzFilter, routerFilter], [plainRoute]))],
      clusters: [endpointsCluster(httpCluster, options.endpoints, false), authzCluster(options.authz)],
    },
  };
  return `# Envoy that checks requests. Without the check they fail with 503.\n${yamlText(configuration)}`;
}
