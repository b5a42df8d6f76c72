export { type DiscoveredEndpoint, endpointDiscovery, type EndpointSource } from "./endpoint-discovery.ts";
