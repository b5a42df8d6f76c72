import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { housekeepingCall } from "@longshore/core/internal";
import { expect, it } from "vitest";
import {
  ClusterLoadAssignmentSchema,
  DiscoveryRequestSchema,
  DiscoveryResponseSchema,
} from "../proto/endpoint_discovery_pb.ts";
import { type DiscoveredEndpoint, endpointDiscovery } from "./endpoint-discovery.ts";

const typeUrl = "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment";

/** A stream whose messages come one by one. */
function open(first: readonly DiscoveredEndpoint[]) {
  let endpoints = first;
  let changed = (): void => undefined;
  const service = endpointDiscovery({
    of: (cluster) => (cluster === "endpoints" ? endpoints : undefined),
    watch(told) {
      changed = told;
      return { [Symbol.dispose]: () => undefined };
    },
  });
  const messages: Uint8Array[] = [];
  let more = (): void => undefined;
  const state = { over: false };
  const sent: Uint8Array[] = [];
  const run = service.methods["StreamEndpoints"]!({
    headers: {},
    peer: { address: "127.0.0.1", loopback: true },
    call: housekeepingCall("c"),
    draining: new AbortController().signal,
    async next() {
      while (messages.length === 0 && !state.over) await new Promise<void>((resolve) => (more = resolve));
      return messages.shift();
    },
    send: async (message) => void sent.push(message),
  });
  const settle = () => new Promise((resolve) => setImmediate(resolve));
  return {
    run,
    async ask(message: MessageInitShape<typeof DiscoveryRequestSchema> | Uint8Array) {
      const bytes =
        message instanceof Uint8Array
          ? message
          : toBinary(DiscoveryRequestSchema, create(DiscoveryRequestSchema, message));
      messages.push(bytes);
      more();
      await settle();
    },
    async becomes(next: readonly DiscoveredEndpoint[]) {
      endpoints = next;
      changed();
      await settle();
    },
    async end() {
      state.over = true;
      more();
      await run;
    },
    get told() {
      return sent.map((bytes) => {
        const { resources, versionInfo } = fromBinary(DiscoveryResponseSchema, bytes);
        const lists = resources.map(({ value }) => fromBinary(ClusterLoadAssignmentSchema, value));
        return [
          versionInfo,
          ...lists.flatMap(({ endpoints: all }) =>
            all.map(({ priority, lbEndpoints }) =>
              [
                priority,
                ...lbEndpoints.map(({ endpoint }) => endpoint?.address?.socketAddress?.portValue),
              ].join(" "),
            ),
          ),
        ];
      });
    },
  };
}

const at = (port: number, priority = 0): DiscoveredEndpoint => ({ address: "10.0.0.1", port, priority });

it("tells the endpoints of a cluster at once and whenever they change, and an empty list only after one that was not", async () => {
  const stream = open([]);
  await stream.ask({ resourceNames: ["endpoints", "other"], typeUrl });
  expect(stream.told).toEqual([]);
  await stream.becomes([at(1), at(3, 2), at(2)]);
  await stream.becomes([at(1), at(3, 2), at(2)]);
  await stream.ask({ resourceNames: ["endpoints"], typeUrl, versionInfo: "1", responseNonce: "1" });
  await stream.becomes([]);
  expect(stream.told).toEqual([["1", "0 1 2", "1 3"], ["2"]]);
  await stream.end();
});

it("refuses other types, too many clusters and malformed messages", async () => {
  for (const message of [
    { typeUrl: "type.googleapis.com/envoy.config.cluster.v3.Cluster" },
    { resourceNames: Array.from({ length: 101 }, (_, index) => `${index}`) },
    new Uint8Array([255, 255, 255, 255]),
  ]) {
    const stream = open([at(1)]);
    const failed = stream.run.catch((thrown: unknown) => thrown);
    await stream.ask(message);
    expect(await failed).toMatchObject({ reason: "invalid-input" });
  }
});
