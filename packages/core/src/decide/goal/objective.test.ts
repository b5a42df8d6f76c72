import { describe, expect, it } from "vitest";
import { type Aim, aimFrom, isThrifty, type Objective, readObjective, travellingAim } from "./objective.ts";

describe("objectives", () => {
  it.each<[string, unknown]>([
    ["latency", { kind: "sum", terms: [{ of: "mean", weight: 1 }] }],
    ["p95", { kind: "sum", terms: [{ of: 0.95, weight: 1 }] }],
    ["chance", { kind: "chance" }],
    ["throughput", { kind: "throughput" }],
    [
      "mean=2, p7 ,energy=0.2",
      {
        kind: "sum",
        terms: [
          { of: "mean", weight: 2 },
          { of: 0.07, weight: 1 },
          { of: "energy", weight: 0.2 },
        ],
      },
    ],
    [
      "speed",
      "'speed' is none of mean, p1 to p99, energy, cost and carbon; latency, chance, accuracy and throughput stand alone",
    ],
    [
      "cost=1,latency=1",
      "latency is no sum and stands alone; sums are made of mean, p1 to p99, energy, cost and carbon",
    ],
    ["cost=-1", "the weight of cost must be a number above 0, such as cost=0.2"],
    ["cost=1e308", "the weight of cost must be between 1e-9 and 1e9"],
    [`cost${",cost".repeat(8)}`, "a sum has 8 terms at most"],
  ])("reads %s", (text, read) => expect(readObjective(text)).toEqual(read));

  it.each<[Objective, boolean]>([
    ["latency", false],
    ["energy", true],
    ["energy=2,cost=1", true],
    ["mean=1,energy=2", false],
    ["chance", false],
    ["accuracy", false],
  ])("with %s, it is %s that nobody hurries", (objective, thrifty) =>
    expect(isThrifty(objective)).toBe(thrifty),
  );
});

const usual = { objective: "accuracy", minAgreementRatio: 0.99 } as const;

describe("aims on the way", () => {
  it("keep what answers are to agree where that is more than usual, here or there", () => {
    const exact = { objective: "latency", minAgreementRatio: 1 } as const;
    expect(travellingAim(exact)).toBe("latency;agreement=1");
    expect(aimFrom("latency;agreement=1", usual)).toEqual(exact);
    expect(aimFrom("cost;agreement=0.5;in-time=0.9", usual)).toEqual({
      objective: "cost",
      minAgreementRatio: 0.99,
      minInTimeRatio: 0.9,
    });
    expect(travellingAim({ ...exact, minAgreementRatio: 0.9 })).toBeUndefined();
  });

  it.each<[Aim, string | undefined, Aim]>([
    [{ objective: "latency" }, undefined, { objective: "accuracy" }],
    [{ objective: "mean" }, undefined, { objective: "accuracy" }],
    [{ objective: "energy" }, undefined, { objective: "accuracy" }],
    [{ objective: "throughput" }, undefined, { objective: "accuracy" }],
    [{ objective: "p95" }, "p95", { objective: "p95" }],
    [{ objective: "chance" }, "chance", { objective: "chance" }],
    [{ objective: "mean=1,energy=3,p99=0.5" }, "mean=1,p99=0.5", { objective: "mean=1,p99=0.5" }],
    [{ objective: "energy=1,cost=4" }, "cost", { objective: "cost" }],
    [
      { objective: "cost", minInTimeRatio: 0.99 },
      "cost;in-time=0.99",
      { objective: "cost", minInTimeRatio: 0.99 },
    ],
    [
      { objective: "energy", minInTimeRatio: 0.5 },
      "latency;in-time=0.5",
      { objective: "latency", minInTimeRatio: 0.5 },
    ],
  ])("of %o endpoints are told %s", (aim, told, there) => {
    expect(travellingAim(aim)).toBe(told);
    expect(aimFrom(told, usual)).toEqual({ ...usual, ...there });
  });

  it.each<Aim>([
    { objective: "cost", minInTimeRatio: 1.2345e-7, minAgreementRatio: 0.99999999999999989 },
    { objective: "cost", minInTimeRatio: 0.0012345678901234567, minAgreementRatio: 1 },
    {
      objective: Array.from(
        { length: 8 },
        (_none, at) => `p9${at}=1.2345678901234567e-6`,
      ).join() as Objective,
      minInTimeRatio: 0.0012345678901234567,
      minAgreementRatio: 0.99999999999999989,
    },
  ])("arrive as they were, however many digits %o has", (aim) => {
    const { terms: told } = readObjective(aim.objective) as { terms: object };
    const there = aimFrom(travellingAim(aim), usual);
    expect(there).toMatchObject({ ...aim, objective: expect.any(String) as string });
    expect(readObjective(there.objective)).toMatchObject({ terms: told });
  });

  it.each([
    ["", "'' is none of mean"],
    ["speed", "'speed' is none of mean"],
    ["cost;", "'' is neither in-time nor agreement"],
    ["cost;in-time=0", "'in-time=0' is neither"],
    ["cost;in-time=1.5", "'in-time=1.5' is neither"],
    ["cost;in-time=", "'in-time=' is neither"],
    ["cost;in-time=0.9;x", "'x' is neither"],
    ["cost;in-time=0.9;in-time=0.8", "it says something twice"],
    ["cost;late=1", "'late=1' is neither"],
    [`cost${",cost".repeat(20)}`, "a sum has 8 terms at most"],
    [`cost${",cost".repeat(100)}`, "it has more than 320 characters"],
  ])("'%s' is refused", (told, why) => {
    const read = () => aimFrom(told, usual);
    expect(read).toThrow(expect.objectContaining({ reason: "invalid-input" }));
    expect(read).toThrow(why);
  });
});
