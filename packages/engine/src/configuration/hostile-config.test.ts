import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { LongshoreError } from "@longshore/core";
import { parseModelYaml } from "./model-yaml.ts";
import { parseTritonConfig } from "./triton-config.ts";
import { parseTritonJson } from "./triton-json.ts";

/** Any text from an operator, or from a load over the network, is read or refused as configuration and has no other effect. */
function outcome(parse: () => unknown): string {
  try {
    parse();
    return "read";
  } catch (thrown) {
    return LongshoreError.is(thrown) ? thrown.reason : String(thrown);
  }
}
const fine = /^(?:read|invalid-configuration)$/;

const tritonWords = [
  ..."{ } [ ] < > : ; , # -1 0 1 2.5 99999999999999999999 true false".split(" "),
  '"a"',
  '"../x"',
  '"__proto__"',
  ...(
    "name platform backend max_batch_size input output data_type dims reshape shape TYPE_FP32 TYPE_STRING " +
    "version_policy latest all specific versions num_versions instance_group count kind KIND_CPU KIND_GPU constructor " +
    "rate_limiter resources priority global sequence_batching direct oldest max_candidate_sequences control_input control " +
    "CONTROL_SEQUENCE_START CONTROL_SEQUENCE_CORRID int32_false_true fp32_false_true state input_name output_name " +
    "initial_state zero_data data_file model_warmup batch_size inputs key value random_data input_data_file " +
    "parameters string_value dynamic_batching preferred_batch_size max_queue_delay_microseconds __proto__ toString"
  ).split(" "),
];

describe("hostile configuration", () => {
  it("config.pbtxt of any words is read or refused", () => {
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...tritonWords), { maxLength: 60 }), (words) => {
        expect(outcome(() => parseTritonConfig("m", words.join(" ")))).toMatch(fine);
      }),
      { numRuns: 2000 },
    );
  });

  it("config.pbtxt whose shape is right and whose values are anything is read or refused", () => {
    const value = fc.oneof(
      fc.constantFrom(...tritonWords),
      fc.integer().map(String),
      fc.string().map((text) => JSON.stringify(text)),
      fc.constant("{ }"),
      fc.constant("[ ]"),
    );
    const templates = [
      (a: string, b: string) => `instance_group { count: ${a} rate_limiter { priority: ${b} } }`,
      (a: string, b: string) =>
        `sequence_batching { oldest { max_candidate_sequences: ${a} preferred_batch_size: [ ${b} ] } }`,
      (a: string, b: string) =>
        `sequence_batching { state { input_name: ${a} output_name: "o" data_type: TYPE_FP32 dims: [ ${b} ] } }`,
      (a: string, b: string) =>
        `sequence_batching { control_input { name: ${a} control { kind: ${b} int32_false_true: [ 0, 1 ] } } }`,
      (a: string, b: string) =>
        `model_warmup { name: "w" batch_size: ${a} inputs { key: "x" value { data_type: TYPE_FP32 dims: ${b} zero_data: true } } }`,
      (a: string, b: string) => `version_policy { latest { num_versions: ${a} } } max_batch_size: ${b}`,
      (a: string, b: string) => `parameters { key: ${a} value { string_value: ${b} } }`,
    ];
    fc.assert(
      fc.property(fc.constantFrom(...templates), value, value, (template, a, b) => {
        expect(outcome(() => parseTritonConfig("m", template(a, b)))).toMatch(fine);
      }),
      { numRuns: 2000 },
    );
  });

  it("JSON of any kind is read or refused, with any keys", () => {
    const key = fc.constantFrom(
      ...tritonWords.filter((word) => /^[a-z_]+$/i.test(word)),
      "maxBatchSize",
      "instanceGroup",
    );
    const { json } = fc.letrec<{ json: unknown }>((tie) => ({
      json: fc.oneof(
        { maxDepth: 4 },
        fc.constantFrom<unknown>(null, true, 0, -1, 1.5, "8", "TYPE_FP32", "", "x".repeat(300)),
        fc.array(tie("json"), { maxLength: 3 }),
        fc.dictionary(key, tie("json"), { maxKeys: 4 }),
      ),
    }));
    fc.assert(
      fc.property(json, (value) => {
        expect(outcome(() => parseTritonJson("m", JSON.stringify(value)))).toMatch(fine);
      }),
      { numRuns: 2000 },
    );
    expect(outcome(() => parseTritonJson("m", "[".repeat(100_000)))).toMatch(fine);
    expect(outcome(() => parseTritonJson("m", " ".repeat(2 ** 21)))).toBe("invalid-configuration");
    expect(Object.hasOwn(Object.prototype, "name")).toBe(false);
  });

  it("model.yaml with anything under the keys of a model's life is read or refused", () => {
    const word = fc.constantFrom(
      "all",
      "latest",
      "specific",
      "count",
      "kind",
      "gpu",
      "zeros",
      "__proto__",
      "1",
      "stable",
    );
    const { any } = fc.letrec<{ any: unknown }>((tie) => ({
      any: fc.oneof(
        { maxDepth: 3 },
        fc.constantFrom<unknown>(null, true, -1, 0, 3, 1e12, "", "../x"),
        word,
        fc.array(tie("any"), { maxLength: 3 }),
        fc.dictionary(word, tie("any"), { maxKeys: 3 }),
      ),
    }));
    const under = fc.constantFrom(
      "versions",
      "versionLabels",
      "instances",
      "warmUp",
      "keepLoaded",
      "sequence",
    );
    fc.assert(
      fc.property(under, any, (name, value) => {
        // JSON is YAML.
        expect(outcome(() => parseModelYaml("m", `${name}: ${JSON.stringify(value)}`))).toMatch(fine);
      }),
      { numRuns: 2000 },
    );
  });

  it.each([
    ["versions: 3", "versions"],
    ["versions: { latest: 0 }", "versions"],
    ["versionLabels: { 3: 1 }", "versionLabels"],
    ["versionLabels: { stable: newest }", "versionLabels.stable"],
    ["instances: [{ count: 1, kind: tpu }]", "instances[0].kind"],
    ["instances: [{ count: 1, resources: [{ name: R }] }]", "instances[0].resources[0].count"],
    ["warmUp: [{ inputs: { x: { datatype: FP32, shape: [-1] } } }]", "warmUp[0].inputs.x.shape[0]"],
    ["sequence: { controls: [{ input: x, kind: stop, datatype: INT32 }] }", "sequence.controls[0].kind"],
    ["keepLoaded: maybe", "keepLoaded"],
  ])("model.yaml says where it is wrong: %s", (yaml, place) => {
    expect(() => parseModelYaml("m", yaml)).toThrow(
      expect.objectContaining({
        reason: "invalid-configuration",
        message: expect.stringContaining(place) as string,
      }) as Error,
    );
  });
});
