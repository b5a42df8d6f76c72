import { describe, expect, it } from "vitest";
import { parseModelYaml } from "./model-yaml.ts";
import { parseTritonConfig } from "./triton-config.ts";

const dynamic = (fields: string): string => `max_batch_size: 8 dynamic_batching { ${fields} }`;

describe("how requests wait and share runs, in config.pbtxt", () => {
  it("is read with Triton's policies: classes, timeouts and their actions, queue sizes, order", () => {
    const { batching } = parseTritonConfig(
      "m",
      dynamic(`preserve_ordering: true priority_levels: 3 default_priority_level: 2
        default_queue_policy { timeout_action: DELAY default_timeout_microseconds: 500000 allow_timeout_override: true max_queue_size: 16 }
        priority_queue_policy { key: 1 value { max_queue_size: 4 } }`),
    );
    expect(batching).toEqual({
      maxBatchSize: 8,
      preserveOrdering: true,
      queue: { timeoutAction: "delay", timeoutMs: 500, mayShorten: true, maxQueued: 16 },
      priorities: {
        levels: 3,
        defaultLevel: 2,
        policies: { 1: { timeoutAction: "reject", timeoutMs: 0, mayShorten: false, maxQueued: 4 } },
      },
    });
  });

  it("learns the wait for company unless a delay is written, also one of 0", () => {
    expect(parseTritonConfig("m", dynamic("")).batching).toEqual({ maxBatchSize: 8 });
    expect(parseTritonConfig("m", dynamic("max_queue_delay_microseconds: 0")).batching).toEqual({
      maxBatchSize: 8,
      maxQueueDelayMs: 0,
    });
  });

  it.each([
    [
      "an action that there is not",
      "default_queue_policy { timeout_action: DROP }",
      "is DROP; expected REJECT, DELAY",
    ],
    ["no default class", "priority_levels: 2", "default_priority_level is 0; 1 to 2 is allowed"],
    ["a policy without classes", "priority_queue_policy { key: 1 value {} }", "needs priority_levels"],
    [
      "a class that there is not",
      "priority_levels: 2 default_priority_level: 1 priority_queue_policy { key: 3 value {} }",
      "names level 3; there are 2",
    ],
    ["a negative size", "default_queue_policy { max_queue_size: -1 }", "0 or more is allowed"],
    [
      "a preferred size of nothing",
      "preferred_batch_size: [ 4, 0 ]",
      "holds 0; 1 to max_batch_size (8) is allowed",
    ],
    [
      "a preferred size beyond the batch",
      "preferred_batch_size: 16",
      "holds 16; 1 to max_batch_size (8) is allowed",
    ],
    ["a negative delay", "max_queue_delay_microseconds: -5", "is -5; 0 or more is allowed"],
  ])("%s is refused", (_what, fields, message) => {
    expect(() => parseTritonConfig("m", dynamic(fields))).toThrow(
      expect.objectContaining({
        reason: "invalid-configuration",
        message: expect.stringContaining(message) as string,
      }) as Error,
    );
  });
});

describe("how requests wait and share runs, in model.yaml", () => {
  it("is read with its defaults filled in, buckets included", () => {
    const { batching, joinsRequests } = parseModelYaml(
      "m",
      `batching:
  maxBatchSize: 16
  isolation: shared
  queue: { timeoutMs: 200 }
  priorities: { levels: 2, policies: { 2: { maxQueued: 5, timeoutAction: delay } } }
buckets:
  rows: [1, 4, 16]
  axes: [{ sizes: [32, 64], inputs: { ids: 1, mask: 1 }, outputs: { hidden: 1 } }]
`,
    );
    expect(joinsRequests).toBe(true);
    expect(batching).toEqual({
      maxBatchSize: 16,
      isolation: "shared",
      queue: { timeoutAction: "reject", timeoutMs: 200, mayShorten: true, maxQueued: 0 },
      priorities: {
        levels: 2,
        defaultLevel: 1,
        policies: { 2: { timeoutAction: "delay", timeoutMs: 0, mayShorten: true, maxQueued: 5 } },
      },
      buckets: {
        rows: [1, 4, 16],
        axes: [{ sizes: [32, 64], inputs: { ids: 1, mask: 1 }, outputs: { hidden: 1 }, fill: 0 }],
      },
    });
    expect(parseModelYaml("m", "buckets: { rows: [2, 4] }").batching).toEqual({
      maxBatchSize: 0,
      buckets: { rows: [2, 4], axes: [] },
    });
  });

  it.each([
    ["sizes that do not rise", "buckets: { rows: [4, 2] }", "must rise"],
    [
      "the axis of the batch",
      "buckets: { axes: [{ sizes: [4], inputs: { x: 0 } }] }",
      "at least 1 is allowed",
    ],
    [
      "an isolation that there is not",
      "batching: { maxBatchSize: 2, isolation: none }",
      'isolation is "none"',
    ],
    [
      "a class that there is not",
      "batching: { maxBatchSize: 2, priorities: { levels: 2, defaultLevel: 3 } }",
      "names level 3; there are 2",
    ],
    [
      "an unknown key of a policy",
      "batching: { maxBatchSize: 2, queue: { size: 3 } }",
      "queue.size is an unknown key",
    ],
  ])("%s is refused", (_what, yaml, message) => {
    expect(() => parseModelYaml("m", yaml)).toThrow(
      expect.objectContaining({
        reason: "invalid-configuration",
        message: expect.stringContaining(message) as string,
      }) as Error,
    );
  });
});

it("refuses a second YAML document instead of leaving it out", () => {
  expect(() => parseModelYaml("m", "name: m\n---\ndataClass: restricted\n")).toThrow(
    /multiple documents; give one at line 2/,
  );
  expect(() => parseModelYaml("m", "# nothing\n")).toThrow("model.yaml: is empty; remove it or give a key");
});
