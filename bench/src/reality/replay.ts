import {
  createOffloader,
  type Endpoint,
  linkBelief,
  linkModel,
  silentObserver,
  standardPolicy,
} from "@longshore/core";
import { housekeepingCall, radios } from "@longshore/core/internal";
import {
  constantTrace,
  type Envelope,
  type FixedPlan,
  followPlan,
  linkProxy,
  type PlanCandidate,
  planName,
  planOf,
  runScenario,
  type ScenarioRow,
  type Simulation,
  wholeSegment,
} from "@longshore/lab";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { contradictionIn } from "@longshore/testkit";
import { dial, type DemoEndpoint, serverInfo } from "longshore/measure";

/** One request over real sockets. */
export interface RealRow extends ScenarioRow {
  readonly plan: string;
}

/**
 * Replays a simulation with one endpoint over a TCP relay that follows its traces, to a real server and from a real device:
 * under the real offloader, or under a plan that never changes. The traces begin with the relay, as they do with a
 * simulated world.
 */
export async function replayReally(
  simulation: Simulation,
  device: Endpoint,
  server: DemoEndpoint,
  plan?: FixedPlan,
): Promise<readonly RealRow[]> {
  const [simulated] = simulation.endpoints;
  if (!simulated) throw new Error("a simulation without an endpoint");
  const clock = systemClock();
  const random = systemRandom();
  const { up, down, delayMs, jitterMs = 0 } = simulated;
  const link = linkBelief({ model: linkModel() });
  const beganMs = clock.nowMs();
  const proxy = await linkProxy({
    target: { port: server.port },
    up,
    down,
    delayMs,
    jitterMs,
    seed: simulation.seed,
  });
  const { id, tier, zone, trust } = simulated.info;
  const address = `http://127.0.0.1:${proxy.port}`;
  const about = { ...serverInfo({ address, id, tier, zone }), trust };
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
        endpoint: () => endpoint,
        segment: wholeSegment(model.description),
        choose: () => plan,
        activeWatts: 0,
        radio: radios.wired,
      })
    : offloader;
  const plans: string[] = [];
  // The time since the relay began; a stall of the trace is to meet the same requests.
  const lateMs = clock.nowMs() - beganMs;
  try {
    const rows = await runScenario({
      offloader: face,
      clock,
      requests: arrivalsMs.map((atMs, index) => ({
        atMs: atMs - lateMs,
        model: model.description.name,
        inputs,
        limits,
        check: (result) => {
          const contradiction = result.plans.map(contradictionIn).find((one) => one !== undefined);
          if (contradiction !== undefined) throw new Error(contradiction);
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

/** A relay without delay: only its own time and that of the software of both sides remain. */
const atOnce = constantTrace(1e9);
/** Exchanges that are measured: this many, or as many as fit into this time in milliseconds, but five at least. */
const exchanges = { most: 30, least: 5, withinMs: 8000 };

/** The cost of exchanges with a server beyond a profile's figures. */
export interface ExchangeCosts {
  /** The time that the software of both sides and the relay added to each of some exchanges, in milliseconds. */
  readonly handlingMs: readonly number[];
  /** Bytes on the wire around the tensors of a request and of its reply. */
  readonly envelope: Envelope;
}

/**
 * Runs every plan over a relay without delay, twice if that does not take long, so that sessions are loaded before the
 * measurement. Returns the cost of the exchange of the smallest crossing.
 */
export async function warmUp(
  simulation: Simulation,
  device: Endpoint,
  server: DemoEndpoint,
  plans: readonly PlanCandidate[],
): Promise<ExchangeCosts> {
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
    const exchange = async (plan: FixedPlan): Promise<number> => {
      const face = followPlan({
        clock,
        device,
        endpoint: () => endpoint,
        segment: wholeSegment(model.description),
        choose: () => plan,
        activeWatts: 0,
        radio: radios.wired,
      });
      const { accounts } = await face.infer(model.description.name, inputs);
      const network = accounts.flatMap(({ stages }) => stages).find(({ stage }) => stage === "network");
      return network?.tookMs ?? NaN;
    };
    const away = plans.filter(({ plan: { endpoint } }) => endpoint !== undefined);
    const least = away.toSorted((a, b) => a.upBytes - b.upBytes)[0];
    if (!least) throw new Error("no plan leaves this device");
    const startedMs = clock.nowMs();
    for (const { plan } of away) await exchange(plan);
    if (clock.nowMs() - startedMs < exchanges.withinMs) for (const { plan } of away) await exchange(plan);
    const before = proxy.carriedBytes;
    const handlingMs: number[] = [];
    const untilMs = clock.nowMs() + exchanges.withinMs;
    while (
      handlingMs.length < exchanges.least ||
      (handlingMs.length < exchanges.most && clock.nowMs() < untilMs)
    ) {
      handlingMs.push(await exchange(least.plan));
    }
    const after = proxy.carriedBytes;
    const envelope = {
      up: Math.round((after.up - before.up) / handlingMs.length - least.upBytes),
      down: Math.round((after.down - before.down) / handlingMs.length - least.downBytes),
    };
    return { handlingMs, envelope };
  } finally {
    await endpoint.close();
  }
}
