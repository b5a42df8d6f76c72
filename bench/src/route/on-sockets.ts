import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import {
  type Clock,
  codecSet,
  type Endpoint,
  type EndpointInfo,
  type InferenceRequest,
  oipEndpoint,
  rawCodec,
  seededRandom,
  silentObserver,
  type Tensor,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { farmModel, farmRequest, watchedServer } from "@longshore/lab";
import { type PickerKind } from "../pickers/picker.ts";
import { type FleetScene, pickerGateway, type FleetSend, sendAll } from "../pickers/run-fleet.ts";
import { httpTransport, systemClock } from "@longshore/nodejs";
import { openOffloader } from "longshore";
import type { FarmOrder } from "./farm-process.ts";

/** A queue that a balancer let grow is not awaited for longer than this after the last request, in milliseconds. */
const patienceMs = 3000;

/** Starts the servers of a scene, and says where they listen. */
async function startFarm({ servers, requests }: FleetScene): Promise<{
  readonly farm: ChildProcess;
  readonly addresses: readonly string[];
}> {
  const farm = fork(fileURLToPath(new URL("./farm-process.js", import.meta.url)));
  const order: FarmOrder = { servers, requests };
  farm.send(order);
  const told: unknown = await Promise.race([
    once(farm, "message").then(([message]: unknown[]) => message),
    once(farm, "exit").then(() => undefined),
  ]);
  if (!Array.isArray(told)) throw new Error("the servers did not start");
  return { farm, addresses: told.map(String) };
}

function infoOf(address: string): EndpointInfo {
  return {
    id: new URL(address).host,
    tier: "edge",
    zone: "farm",
    trust: "operated",
    address,
    codecs: [],
    state: "none",
    offers: true,
    rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 1 },
  };
}

/** The limits that offloaders get with each request. */
const limits = { dataClass: "public" } as const;

function inputOf({ inputs }: InferenceRequest): Tensor {
  const x = inputs.get("x");
  if (!x || "read" in x) throw new Error("a farm's request is a tensor x");
  return x;
}

/** A gateway with a balancer: connections of its own, and the same protocol as ours. */
function connect(address: string, clock: Clock, seed: number): Endpoint {
  return oipEndpoint({
    info: infoOf(address),
    transport: httpTransport({ address, clock }),
    codecs: codecSet(rawCodec),
    clock,
    random: seededRandom(seed),
    observer: silentObserver,
  });
}

/**
 * Runs a scene against real servers over HTTP: with a picker, or (`undefined`) with an offloader as each gateway. The time of a
 * request is counted from its due time. Prequal and the oracle get the state of the servers without delay, as computed from all
 * requests sent there.
 */
export async function runOnSockets(
  scene: FleetScene,
  kind: PickerKind | undefined,
): Promise<{ readonly tookMs: readonly number[]; readonly givenUp: number }> {
  const clock = systemClock();
  const model = farmModel(scene.requests);
  const { farm, addresses } = await startFarm(scene);
  const closing: (() => Promise<void>)[] = [];
  try {
    const watched = scene.servers.map((server) => watchedServer(server, clock));
    const gateways: FleetSend[] = [];
    for (let number = 0; number < scene.gateways; number++) {
      if (kind) {
        const seed = scene.seed * 1000 + number;
        const endpoints = addresses.map((address) => connect(address, clock, seed));
        const reached = watched.map((one, index) => {
          const endpoint = endpoints[index];
          if (!endpoint) throw new Error("each server has an address");
          return one.reachedBy(endpoint);
        });
        // Replies are checked against the model, as ours are.
        await Promise.all(
          endpoints.map((one) => one.describe("work", undefined, housekeepingCall("describe"))),
        );
        closing.push(async () => void (await Promise.all(endpoints.map((one) => one.close()))));
        gateways.push(pickerGateway(kind, reached, seed, model, () => clock.nowMs()));
        continue;
      }
      const offloader = await openOffloader({ servers: addresses });
      closing.push(() => offloader.close());
      // It knows its servers before the first request, as balancers do.
      await offloader.explain("work", { x: inputOf(farmRequest(model, { workMs: 0, size: 1 })) }, limits);
      gateways.push(async (_index, request) => {
        await offloader.infer("work", { x: inputOf(farmRequest(model, request)) }, limits);
      });
    }
    return await sendAll(scene, gateways, clock, patienceMs);
  } finally {
    // Requests in its queues are not awaited.
    farm.disconnect();
    if (farm.exitCode === null) await once(farm, "exit");
    await Promise.all(closing.map((close) => close()));
  }
}
