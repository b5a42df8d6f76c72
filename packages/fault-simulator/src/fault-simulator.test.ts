import { describe, expect, it } from "vitest";
import { type Fault, planFrom } from "./plan.ts";
import { runSeed } from "./run-seed.ts";
import { shrink } from "./shrink.ts";
import { drawFaults, drawWorld, machinesOf } from "./world-spec.ts";

/** A fault without a target. */
const fault = (kind: Fault["kind"], atMs: number): Fault => ({
  kind,
  machine: "server-1",
  atMs,
  forMs: 0,
  amount: 0,
  ratio: 1,
});

describe("the simulator", () => {
  it("writes the same log for the same seed, byte for byte, and another one for another", async () => {
    const [one, again, other] = [await runSeed(7), await runSeed(7), await runSeed(8)];
    expect(one.run.log.lines.length).toBeGreaterThan(50);
    expect(again.run.log.lines).toEqual(one.run.log.lines);
    expect(other.run.log.digest()).not.toBe(one.run.log.digest());
  });

  it("finds nothing in its first seeds", async () => {
    for (let seed = 1; seed <= 12; seed++) {
      const { violations } = await runSeed(seed);
      expect(violations, `seed ${seed}`).toEqual([]);
    }
  });

  it("draws the same requests with any faults", async () => {
    const { run } = await runSeed(7, []);
    const { run: usual } = await runSeed(7);
    expect(run.faults).toEqual([]);
    expect(run.spec).toEqual(usual.spec);
  });
});

/** Plans that broke something once, and what it was. */
const fixedCases: readonly (readonly [string, number, readonly Fault[]])[] = [
  [
    "a reply whose checksum does not fit is asked for again",
    42,
    [{ kind: "flip-reply", machine: "server-1", atMs: 4020, forMs: 104, amount: 0, ratio: 1 }],
  ],
  [
    "retries beside a silent server are not second runs",
    62,
    [
      { kind: "lose-reply", machine: "server-2", atMs: 1467, forMs: 5842, amount: 0, ratio: 1 },
      { kind: "kill", machine: "server-1", atMs: 5464, forMs: 3735, amount: 0, ratio: 1 },
    ],
  ],
  ["requests that come before the first server of the directory wait for it", 69, []],
  ["a request without a deadline ends where nothing known can run its model", 16_776_920, []],
  ["a request that only a server still to join may take waits for it", 417, []],
  ["endpoints that are starting are asked again soon, through a gateway too", 286_211, []],
  ["a gateway is asked again before rules deny a request", 7_684_021, []],
  ["a directory that settles is read again soon, while a request waits for its servers", 1_306_794, []],
  [
    "a run that was interrupted does not make a server refuse the requests after it",
    7_684_170,
    [{ kind: "freeze", machine: "server-1", atMs: 2284, forMs: 5229, amount: 0, ratio: 0.3 }],
  ],
  [
    "a request whose answer was lost is sent again although its server answers others",
    7_684_231,
    [
      { kind: "lose-reply", machine: "server-1", atMs: 2993, forMs: 3353, amount: 0, ratio: 0.65 },
      { kind: "drain", machine: "server-1", atMs: 5038, forMs: 200, amount: 0, ratio: 1 },
    ],
  ],
  [
    "of two servers the one is tried again that failed the request less often",
    7_683_970,
    [
      { kind: "flip-request", machine: "server-2", atMs: 4487, forMs: 7901, amount: 0, ratio: 1 },
      { kind: "lose-request", machine: "server-1", atMs: 4442, forMs: 6029, amount: 0, ratio: 1 },
    ],
  ],
  [
    "a request whose answer was lost is sent again although refused connections have used up the budget",
    56_835_501,
    [
      { kind: "kill", machine: "server-1", atMs: 5875, forMs: 9565, amount: 0, ratio: 1 },
      { kind: "lose-reply", machine: "server-2", atMs: 6522, forMs: 5844, amount: 0, ratio: 1 },
    ],
  ],
  [
    "a request waits for a permitted server that its gateway cannot reach yet",
    9_747_764,
    [{ kind: "partition", machine: "server-1", atMs: 506, forMs: 674, amount: 0, ratio: 0.25 }],
  ],
  [
    "nothing promises a model by an alias that the operator sets late",
    9_747_807,
    [{ kind: "freeze", machine: "gateway", atMs: 225, forMs: 5382, amount: 0, ratio: 0.41 }],
  ],
  [
    "a request outlasts the time in which a restarted gateway asks its only server in vain",
    176_788_588,
    [
      { kind: "kill", machine: "gateway", atMs: 2523, forMs: 7387, amount: 0, ratio: 1 },
      { kind: "lose-reply", machine: "server-1", atMs: 3996, forMs: 7589, amount: 0, ratio: 0.35 },
    ],
  ],
  [
    "a sequence without step numbers goes on at its server after its gateway was killed",
    10,
    [{ kind: "kill", machine: "gateway", atMs: 6000, forMs: 300, amount: 0, ratio: 1 }],
  ],
  [
    "a sequence that had just moved goes on at its newest state after its gateway was killed",
    12_366_280,
    [{ kind: "kill", machine: "gateway", atMs: 10_201, forMs: 1, amount: 0, ratio: 1 }],
  ],
  [
    "a model's description with a flipped bit is asked for again",
    42,
    [{ kind: "flip-reply", machine: "server-1", atMs: 4020, forMs: 3328, amount: 0, ratio: 1 }],
  ],
  [
    "a request whose replies were lost is sent to the same silent gateway again",
    11,
    [{ kind: "lose-reply", machine: "gateway", atMs: 5902, forMs: 5280, amount: 0, ratio: 1 }],
  ],
  [
    "a gateway denies what rules keep for a server whose model an operator unloaded",
    73_031,
    [{ kind: "unload", machine: "server-2", atMs: 7943, forMs: 3199, amount: 0, ratio: 0.63 }],
  ],
];

it.each(fixedCases)("%s (seed %d)", async (_, seed, faults) => {
  const { violations } = await runSeed(seed, faults);
  expect(violations).toEqual([]);
});

describe("a plan", () => {
  const plan = (change: object): unknown => ({ schemaVersion: 1, seed: 3, faults: [], ...change });
  const machines = new Set(machinesOf(drawWorld(3)));

  it("is read as it is written", () => {
    const faults = drawFaults(drawWorld(3));
    expect(planFrom(plan({ faults }), machines)).toEqual({ schemaVersion: 1, seed: 3, faults });
  });

  it.each([
    [
      { faults: [{ ...fault("kill", 0), kind: "meteor" }] },
      "plan.faults[0].kind must be one of kill, freeze",
    ],
    [{ faults: [{ ...fault("kill", 0), kind: "meteor" }] }, 'not "meteor"'],
    [
      { faults: [{ ...fault("kill", 0), machine: "server-99" }] },
      "plan.faults[0].machine must be one of server-1",
    ],
    [{ faults: [{ ...fault("kill", -1) }] }, "plan.faults[0].atMs must be a number from 0"],
    [{ faults: [{ ...fault("kill", 0), howLong: 3 }] }, "plan.faults[0].howLong must be absent"],
    [{ faults: {} }, "plan.faults must be a list"],
    [{ seed: 1.5 }, "plan.seed must be a whole number"],
    [{ schemaVersion: 2 }, "plan.schemaVersion must be 1"],
    [{ comment: "x" }, "plan.comment must be absent"],
  ])("that is wrong is refused by its problem: %j", (change, message) => {
    expect(() => planFrom(plan(change), machines)).toThrow(message);
  });
});

describe("shrinking", () => {
  it("leaves the faults that are needed, and halves their times", async () => {
    const all = [
      fault("kill", 1),
      fault("freeze", 2),
      fault("drain", 3),
      fault("slow", 4),
      fault("reset", 5),
    ];
    const long = all.map((one) => ({ ...one, forMs: 800 }));
    const fewest = await shrink(long, async (some) => {
      const kinds = some.map(({ kind }) => kind);
      return kinds.includes("freeze") && kinds.includes("reset") && some.every(({ forMs }) => forMs >= 100);
    });
    expect(fewest).toEqual([
      { ...fault("freeze", 2), forMs: 100 },
      { ...fault("reset", 5), forMs: 100 },
    ]);
  });

  it("leaves none where none is needed", async () => {
    expect(await shrink([fault("kill", 1)], () => Promise.resolve(true))).toEqual([]);
  });
});
