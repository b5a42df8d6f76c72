import {
  createOffloader,
  type Endpoint,
  housekeepingCall,
  linkBelief,
  linkModel,
  radios,
  silentObserver,
  standardPolicy,
} from "@longshore/core";
import {
  constantTrace,
  type FixedPlan,
  followPlan,
  linkProxy,
  planName,
  planOf,
  runScenario,
  type ScenarioRow,
  type Simulation,
  wholeSegment,
} from "@longshore/lab";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { median } from "../harness.ts";
import { dial, type Place, serverInfo } from "longshore/measure";

/** One request over real sockets. */
export interface RealRow extends ScenarioRow {
  readonly plan: string;
}

/**
 * Replays a simulation with one place over a TCP relay that follows its traces, to a real server and from a real device:
 * under the real offloader, or under a plan that never changes. The traces begin with the relay, as they do with a
 * simulated world.
 */
export async function replayReally(
  simulation: Simulation,
  device: Endpoint,
  server: Place,
  plan?: FixedPlan,
): Promise<readonly RealRow[]> {
  const [place] = simulation.places;
  if (!place) throw new Error("a simulation without a place");
  const clock = systemClock();
  const random = systemRandom();
  const { up, down, delayMs, jitterMs = 0 } = place;
  const link = linkBelief({ model: linkModel() });
  const proxy = await linkProxy({
    target: { port: server.port },
    up,
    down,
    delayMs,
    jitterMs,
    seed: simulation.seed,
  });
  const { id, tier, zone, trust } = place.info;
  const about = serverInfo({ address: `http://127.0.0.1:${proxy.port}`, id, tier, zone, trust });
  const endpoint = dial(about, { clock, random, observer: silentObserver, link });
  const offloader = createOffloader({
    local: device,
    endpoints: [endpoint],
    policy: standardPolicy(),
    clock,
    random,
    observer: silentObserver,
    links: () => link,
  });
  const { model, inputs, arrivalsMs, limits } = simulation;
  const face = plan
    ? followPlan({
        clock,
        device,
        place: () => endpoint,
        segment: wholeSegment(model.description),
        choose: () => plan,
        activeWatts: 0,
        radio: radios.wired,
      })
    : offloader;
  const plans: string[] = [];
  try {
    const rows = await runScenario({
      offloader: face,
      clock,
      requests: arrivalsMs.map((atMs, index) => ({
        atMs,
        model: model.description.name,
        inputs,
        limits,
        check: (result) => {
          plans[index] = planName(plan ?? planOf(result, device.info.id));
          return true;
        },
      })),
    });
    return rows.map((row) => ({ ...row, plan: plans[row.index] ?? "" }));
  } finally {
    await proxy.close();
    await offloader.close();
  }
}

/** A relay that carries at once: what it and the software of both sides take is left. */
const atOnce = constantTrace(1e9);
const exchanges = 30;

/**
 * Runs every plan a few times over a relay that carries at once, so that sessions are loaded before anybody counts. Returns
 * what the software of both sides and the relay add to an exchange of the smallest crossing, in milliseconds.
 */
export async function warmUp(
  simulation: Simulation,
  device: Endpoint,
  server: Place,
  plans: readonly FixedPlan[],
): Promise<number> {
  const clock = systemClock();
  await using proxy = await linkProxy({
    target: { port: server.port },
    up: atOnce,
    down: atOnce,
    delayMs: 0,
  });
  const about = {
    address: `http://127.0.0.1:${proxy.port}`,
    id: "warm",
    tier: "cloud",
    zone: "remote",
  } as const;
  const endpoint = dial(serverInfo(about), { clock, random: systemRandom(), observer: silentObserver });
  const { model, inputs } = simulation;
  try {
    await endpoint.describe(model.description.name, undefined, housekeepingCall("warm-up"));
    const exchange = async (
      plan: FixedPlan,
    ): Promise<{ readonly sentBytes: number; readonly networkMs: number }> => {
      const face = followPlan({
        clock,
        device,
        place: () => endpoint,
        segment: wholeSegment(model.description),
        choose: () => plan,
        activeWatts: 0,
        radio: radios.wired,
      });
      const { accounts, sentBytes } = await face.infer(model.description.name, inputs);
      const network = accounts.flatMap(({ stages }) => stages).find(({ stage }) => stage === "network");
      return { sentBytes, networkMs: network?.tookMs ?? NaN };
    };
    const away = plans.filter(({ place }) => place !== undefined);
    let least: { readonly plan: FixedPlan; readonly bytes: number } | undefined;
    for (let round = 0; round < 2; round++) {
      for (const plan of away) {
        const { sentBytes } = await exchange(plan);
        if (!least || sentBytes < least.bytes) least = { plan, bytes: sentBytes };
      }
    }
    const took: number[] = [];
    if (!least) throw new Error("no plan leaves this device");
    for (let round = 0; round < exchanges; round++) took.push((await exchange(least.plan)).networkMs);
    return median(took);
  } finally {
    await endpoint.close();
  }
}
