import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LongshoreError } from "../../words/base/index.ts";
import {
  bytesTensor,
  float32Tensor,
  numericTensor,
  type Tensors,
  tensorsOf,
  toHalf,
} from "../../words/tensor/index.ts";
import { type PendingAnswer, confirmed, type NextEndpoint } from "./confirmed.ts";
import { evidence } from "./evidence.ts";
import { goldenText, parseGolden } from "./golden.ts";
import { difference, sameBody, similarBody } from "./same-answer.ts";

const numbers = (...values: readonly number[]): Tensors =>
  tensorsOf(float32Tensor("y", [values.length], Float32Array.from(values)));
const halves = (...values: readonly number[]): Tensors =>
  tensorsOf(numericTensor("y", "FP16", [values.length], Uint16Array.from(values, toHalf)));
const words = (...values: readonly string[]): Tensors => tensorsOf(bytesTensor("y", values));

describe("two answers", () => {
  it("are the same when they differ as other kernels round", () => {
    expect(difference(numbers(1, -2, 1e-7), numbers(1.0001, -2.001, 0), sameBody)).toBeUndefined();
    expect(difference(halves(1, 2), halves(1.002, 2), sameBody)).toBeUndefined();
    expect(difference(numbers(NaN, Infinity), numbers(NaN, Infinity), sameBody)).toBeUndefined();
  });

  it("differ when numbers, texts, shapes or names do, without telling what they were", () => {
    expect(difference(numbers(1, 2), numbers(1.1, 2), sameBody)).toMatch(/y differs in 1 of 2 numbers/);
    expect(difference(numbers(1, 2), numbers(NaN, 2), sameBody)).toMatch(/differs in 1 of 2/);
    expect(difference(halves(1), halves(1.2), sameBody)).toMatch(/differs/);
    expect(difference(words("a"), words("b"), sameBody)).toBe("y has other texts");
    expect(difference(numbers(1), numbers(1, 1), sameBody)).toBe("y has another shape");
    expect(difference(numbers(1), words("1"), sameBody)).toBe("y is BYTES, not FP32");
    expect(difference(numbers(1), new Map(), sameBody)).toBe("y is missing");
    const classes = (value: number): Tensors =>
      tensorsOf(numericTensor("y", "INT64", [1], BigInt64Array.of(BigInt(value))));
    expect(difference(classes(1_000_000), classes(1_000_001), sameBody)).toMatch(/differs/);
  });

  it("may differ in a few elements where variants agree most of the time", () => {
    const many = Array.from({ length: 100 }, (_, at) => at);
    const few = many.map((value) => (value === 50 ? 0 : value));
    expect(difference(numbers(...many), numbers(...few), sameBody)).toBeDefined();
    expect(difference(numbers(...many), numbers(...few), similarBody)).toBeUndefined();
  });

  it("are themselves", () => {
    const same = (values: readonly number[]): boolean =>
      difference(numbers(...values), numbers(...values), sameBody) === undefined;
    fc.assert(fc.property(fc.array(fc.float(), { minLength: 1 }), same));
  });
});

describe("an answer that is to be confirmed", () => {
  interface Case {
    readonly endpoint: string;
    readonly y: number;
    readonly state?: number;
    readonly through?: string;
  }
  /** Answers of the endpoints, in the order of the requests; the endpoints that were left out each time. */
  async function ask(...cases: readonly Case[]) {
    const without: (readonly string[])[] = [];
    const left = [...cases];
    const parts = {
      callId: "c",
      model: "m",
      checks: undefined,
      believesHere: true,
      final: () => false,
      nearlyOver: () => undefined,
      ask: ({ without: those }: NextEndpoint): PendingAnswer<number> => {
        without.push([...those]);
        const { endpoint, y, state, through = endpoint } = left.shift() ?? { endpoint: "", y: NaN };
        const said = {
          opinion: { endpoint, here: false, outputs: numbers(y), agreementRatio: 0.99 },
          way: "base",
          state: state === undefined ? undefined : numbers(state),
          by: new Set([endpoint, through]),
          value: y,
        };
        const none = new LongshoreError("no-endpoint", "plan", "nobody is left");
        return {
          first: new Set([endpoint]),
          begun: true,
          answer: endpoint === "" ? Promise.reject(none) : Promise.resolve(said),
          end: () => undefined,
        };
      },
    };
    let message: string | undefined;
    const given = await confirmed(parts).then(
      ({ value, by }) => ({ value, by }),
      (error: unknown) => {
        const known = LongshoreError.from(error, "plan", "");
        ({ message } = known);
        return known.reason;
      },
    );
    return { given, without, message };
  }

  it("is that of two endpoints; of three where two differ", async () => {
    expect(await ask({ endpoint: "a", y: 1 }, { endpoint: "b", y: 1 })).toEqual({
      given: { value: 1, by: "b" },
      without: [[], ["a"]],
    });
    expect(await ask({ endpoint: "a", y: 2 }, { endpoint: "b", y: 1 }, { endpoint: "c", y: 1.001 })).toEqual({
      given: { value: 1, by: "c" },
      without: [[], ["a"], ["a", "b"]],
    });
    const { given } = await ask({ endpoint: "a", y: 1 }, { endpoint: "b", y: 2 }, { endpoint: "c", y: 3 });
    expect(given).toBe("unconfirmed");
  });

  it("does not count one endpoint twice, nor one server behind two gateways", async () => {
    const { given, without } = await ask(
      { endpoint: "a", y: 1 },
      { endpoint: "a", y: 1 },
      { endpoint: "b", y: 1 },
    );
    expect([given, without]).toEqual([{ value: 1, by: "b" }, [[], ["a"], ["a"]]]);
    const alone = await ask({ endpoint: "a", y: 1 }, { endpoint: "a", y: 1 }, { endpoint: "b", y: 2 });
    expect(alone.given).toBe("unconfirmed");
    expect(alone.message).toMatch(/^a and b gave different answers of m/);
    const gates = await ask(
      { endpoint: "gate-1", y: 1, through: "server" },
      { endpoint: "gate-2", y: 1, through: "server" },
    );
    expect(gates.given).toBe("unconfirmed");
    expect(gates.message).toMatch(/^gate-1 answered m, and no other endpoint confirms it/);
    expect(gates.without.at(-1)).toEqual(["gate-1", "server", "gate-2"]);
  });

  it("needs the same state after a step of a sequence, too", async () => {
    const { given } = await ask(
      { endpoint: "a", y: 1, state: 5 },
      { endpoint: "b", y: 1, state: 6 },
      { endpoint: "c", y: 1, state: 6 },
    );
    expect(given).toEqual({ value: 1, by: "c" });
    expect((await ask({ endpoint: "a", y: 1, state: 5 }, { endpoint: "b", y: 1 })).given).toBe("unconfirmed");
  });

  it("is as exact as the same variant is, whatever the profile says of it", async () => {
    const { given } = await ask({ endpoint: "a", y: 1.05 }, { endpoint: "b", y: 1 });
    expect(given).toBe("unconfirmed");
  });
});

describe("evidence", () => {
  it("is enough at once where answers never differ", () => {
    const seen = evidence();
    for (let count = 0; count < 1000; count++) expect(seen.seen(true, 1)).toBe(false);
    expect(seen.suspect).toBe(false);
    expect(seen.seen(false, 1)).toBe(true);
  });

  it("takes several differences where a variant differs now and then, and forgives one", () => {
    const seen = evidence();
    expect(seen.seen(false, 0.98)).toBe(false);
    expect(seen.suspect).toBe(true);
    for (let count = 0; count < 20; count++) seen.seen(true, 0.98);
    expect(seen.suspect).toBe(false);
    const enough = [1, 2, 3, 4].findIndex(() => seen.seen(false, 0.98));
    expect(enough).toBeGreaterThan(0);
  });
});

describe("golden inputs", () => {
  const golden = {
    digest: `sha256:${"1".repeat(64)}`,
    dataClass: "internal",
    pairs: [{ name: "one", inputs: words("å"), outputs: numbers(0.25, -3), tolerance: similarBody }],
  };

  it("read as they were written", () => {
    expect(parseGolden(new TextEncoder().encode(goldenText(golden)))).toEqual(golden);
  });

  it("are read in the protocol's own JSON, too", () => {
    const text = JSON.stringify({
      schemaVersion: 1,
      pairs: [
        {
          inputs: [{ name: "x", datatype: "BYTES", shape: [1], data: ["a"] }],
          outputs: [{ name: "y", datatype: "FP32", shape: [2], data: [1, 2] }],
        },
      ],
    });
    const { pairs, dataClass } = parseGolden(new TextEncoder().encode(text));
    expect(dataClass).toBe("public");
    expect(pairs[0]?.outputs).toEqual(numbers(1, 2));
  });

  it("that are not readable are refused and nothing else", () => {
    const read = (text: string): void => {
      try {
        parseGolden(new TextEncoder().encode(text));
      } catch (thrown) {
        expect(LongshoreError.is(thrown) && thrown.reason).toBe("invalid-configuration");
      }
    };
    fc.assert(fc.property(fc.oneof(fc.json(), fc.string()), read));
  });
});
