/**
 * `bench failover`: a server fails. Three servers of two models; plain clients behind two gateways and the client library, 40 requests per second each, and four sequences. After two
 * seconds the busiest server has a fault for four seconds. It counts what the clients notice.
 *
 * - Each client has sent 2,000 requests before. A request has five seconds. Every answer is checked.
 * - Faults of a server: hang, slow (10x), half-open, packets vanish, link cut, wrong shape, wrong values, clock jump of three days, full disk, `kill -9`. The same
 *   faults, but for slow and wrong answers, happen to one of two gateways.
 * - Wrong values are met twice: with comparisons of one answer in twenty, and with confirmation by a second server.
 */
import { seededRandom } from "@longshore/core";
import { openCrew, openGatewayCrew } from "./failover/crew.ts";
import { faults, gatewayFaults, lie } from "./failover/faults.ts";
import { openFleet } from "./failover/fleet.ts";
import { type Counts, noCounts, type Round, roundOf } from "./failover/round.ts";
import { type Bench, type BenchContext, chosenOf, type Measured, type Row } from "./harness.ts";

const serverCount = 3;

/**
 * In this order. Each crew begins again, since a server that lied stays in quarantine for longer than a round. The last fault
 * of gateways leaves one gateway less, the last of all one server.
 */
const crews: readonly (readonly Round[])[] = [
  [{ name: lie, confirm: false }],
  [{ name: lie, confirm: true }],
  [{ name: "hang", confirm: true }],
  Object.keys(gatewayFaults).map((name) => ({ name, confirm: false })),
  Object.keys(faults)
    .filter((name) => name !== lie)
    .map((name) => ({ name, confirm: false })),
];

/** The same counts as `lost` and the others, for clients whose library knows only gateways. */
function gatewayFigures({ lost, wrong, doubled, lateMs, recoverMs }: Counts): Measured["figures"] {
  return {
    gatewayLost: lost,
    gatewayWrong: wrong,
    gatewayDoubled: doubled,
    ...(recoverMs.length > 0 ? { gatewayRecoverP99Ms: Math.max(...recoverMs) } : {}),
    gatewayWorstLatenessMs: Math.max(...lateMs),
  };
}

async function run({ say, seed, args }: BenchContext): Promise<Measured> {
  const only = chosenOf(args, "only", [...Object.keys(faults), ...Object.keys(gatewayFaults)]);
  const logs = args.includes("--logs");
  const random = seededRandom(seed);
  const rows: Row[] = [];
  const [ofServers, ofGateways] = [noCounts(), noCounts()];
  await using fleet = await openFleet(serverCount);
  for (const rounds of crews) {
    const wanted = rounds.filter(({ name }) => only?.includes(name) ?? true);
    const [first] = wanted;
    if (!first) continue;
    const gateways = first.name in gatewayFaults;
    await using crew = await (gateways ? openGatewayCrew(fleet) : openCrew(fleet, first.confirm, logs));
    for (const round of wanted) {
      const startSeed = Math.floor(random.next() * 1e6);
      rows.push(...(await roundOf(crew, round, startSeed, gateways ? ofGateways : ofServers, say)));
    }
  }
  const recoverMs = [...ofServers.recoverMs, ...ofGateways.recoverMs];
  return {
    figures: {
      lost: ofServers.lost + ofGateways.lost,
      wrong: ofServers.wrong + ofGateways.wrong,
      doubled: ofServers.doubled + ofGateways.doubled,
      ...(recoverMs.length > 0 ? { recoverP99Ms: Math.max(...recoverMs) } : {}),
      worstLatenessMs: Math.max(...ofServers.lateMs, ...ofGateways.lateMs),
      ...((only?.includes(lie) ?? true)
        ? { wrongUnconfirmed: ofServers.wrongUnconfirmed, lastWrongMs: ofServers.lastWrongMs }
        : {}),
      ...(ofGateways.lateMs.length > 0 ? gatewayFigures(ofGateways) : {}),
    },
    rows,
    notRun: [
      ...(fleet.victims.every(({ before }) => before.vanishes)
        ? []
        : ["packets that vanish: this user may not have a network of its own"]),
      ...(fleet.disk ? [] : ["full disk: this user may not mount a small one"]),
      ...(only ? [`all faults but ${only.join(", ")}`] : []),
    ],
  };
}

/** The effect of faults of one of three servers on clients. */
export const bench: Bench = {
  name: "failover",
  about:
    "the most used of three servers fails in ten ways under load: raw clients behind two gateways, and the client library, with sequences; wrong values also where two servers must give each answer; and one of two gateways in seven ways, under the client library",
  options: ["--only FAULT,...", "--logs"],
  bars: {
    lost: { atMost: 0 },
    wrong: { atMost: 0 },
    doubled: { atMost: 0 },
    recoverP99Ms: { atMost: 1000 },
    worstLatenessMs: { atMost: 200 },
    gatewayLost: { atMost: 0 },
    gatewayWrong: { atMost: 0 },
    gatewayDoubled: { atMost: 0 },
    gatewayRecoverP99Ms: { atMost: 1000 },
    gatewayWorstLatenessMs: { atMost: 200 },
  },
  run,
};
