import {
  type Directory,
  type EndpointInfo,
  offloadEndpoint,
  seededRandom,
  silentObserver,
  tablePolicy,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { virtualClock } from "@longshore/lab";
import { farmEndpoint } from "@longshore/lab";
import { farmModel, farmRequest } from "@longshore/lab";
import { gatewayInfo } from "./run-fleet.ts";

/**
 * Processor time of a router for one change of its directory, in milliseconds: of `servers` endpoints one leaves and another
 * comes, `times` over, while one request after each keeps the model in use.
 */
export async function joinAndLeave(servers: number, times: number): Promise<number> {
  const clock = virtualClock();
  const work = { workMs: 10, size: 1 };
  const model = farmModel([work]);
  const endpointAt = (index: number) => farmEndpoint({ speed: 1, slots: 4 }, index, model, clock).endpoint;
  const endpoints = new Map(
    Array.from({ length: servers + times }, (_, index) => {
      const endpoint = endpointAt(index);
      return [endpoint.info.id, endpoint] as const;
    }),
  );
  const infos = Array.from(endpoints.values(), ({ info }) => info);
  let entries: readonly EndpointInfo[] = infos.slice(0, servers);
  const told = new Set<() => void>();
  const directory: Directory = {
    snapshot: () => ({ entries, ageMs: 0 }),
    watch(changed) {
      told.add(changed);
      return { [Symbol.dispose]: () => void told.delete(changed) };
    },
  };
  const router = offloadEndpoint({
    directory,
    dial: ({ id }) => endpoints.get(id) ?? endpointAt(0),
    info: gatewayInfo(0),
    policy: tablePolicy({ public: { leastTrust: "none" } }),
    clock,
    random: seededRandom(1),
    observer: silentObserver,
    links: () => undefined,
  });
  const ask = (): Promise<unknown> =>
    clock.runUntil(router.infer(farmRequest(model, work), housekeepingCall("one")));
  await ask();
  const cpu = process.cpuUsage();
  for (let change = 1; change <= times; change++) {
    entries = infos.slice(change, servers + change);
    for (const changed of told) changed();
    await ask();
  }
  const { user, system } = process.cpuUsage(cpu);
  await router.close();
  return (user + system) / 1000 / times;
}
