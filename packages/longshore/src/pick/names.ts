/** Names of the protocol between a gateway and its endpoint picker (Gateway API Inference Extension, proposal 004). */

/** Header of the request and key of the metadata: `host:port`, or several with commas between, the best first. */
export const destinationKey = "x-gateway-destination-endpoint";
/** Namespace of the metadata that holds it. */
export const destinationNamespace = "envoy.lb";
/** Key of the metadata of a reply: the endpoint that served, where the gateway tells. */
export const servedKey = "x-gateway-destination-endpoint-served";
/** Namespace and key of the endpoints to choose from: a list, or one text with commas. */
export const subsetNamespace = "envoy.lb.subset_hint";
export const subsetKey = "x-gateway-destination-endpoint-subset";
/** Headers with the objective, by its name in Longshore. */
export const objectiveHeaders: readonly string[] = [
  "x-gateway-inference-objective",
  "x-llm-d-inference-objective",
];
/** One sender among others. */
export const fairnessHeaders: readonly string[] = [
  "x-gateway-inference-fairness-id",
  "x-llm-d-inference-fairness-id",
];
/** Milliseconds until the first token; of an inference with tensors, until the answer. */
export const objectiveMsHeader = "x-llm-d-slo-ttft-ms";

/** Of Longshore: the model of a request over gRPC, and its version, where the sender names them: the picker needs no body then. */
export const modelHeader = "longshore-model";
export const modelVersionHeader = "longshore-model-version";

/** Clusters of Envoy whose endpoints a picker tells. */
export const httpCluster = "endpoints";
export const grpcCluster = "endpoints-grpc";

/** Metadata of an endpoint by which Envoy chooses a transport socket, and its key for TLS. */
export const socketMatchNamespace = "envoy.transport_socket_match";
export const tlsMatch: Readonly<Record<"tls", string>> = { tls: "true" };

/** Metadata of a request whose end Envoy's access log reports to the picker: namespace, and key of the picker's name for it. */
export const loggedNamespace = "longshore.pick";
export const loggedKey = "request";
