import { crc32 } from "node:zlib";
import {
  createDirectory,
  createOffloader,
  type EndpointInfo,
  type KeyRing,
  float32Tensor,
  float32View,
  LongshoreError,
  type Offloader,
  type Reason,
  type Result,
} from "@longshore/core";
import { remoteSource } from "@longshore/core/internal";
import { type PlainAnswer, plainClient } from "./plain-client.ts";
import { type Disk, memoryOn } from "./disk.ts";
import type { Machine } from "./machine.ts";
import { repositoryFiles } from "./models.ts";
import {
  codecs,
  diallerOn,
  engineOn,
  infoOf,
  observerOf,
  policy,
  repositoryOf,
  type Surroundings,
} from "./parts.ts";
import type { AppSpec, RequestSpec } from "./world-spec.ts";

/** The outcome of a request. */
export interface RequestEnd {
  readonly request: RequestSpec;
  readonly app: string;
  readonly askedMs: number;
  readonly doneMs: number;
  /** Number of the step in its sequence, and what the steps before and this one bring together. */
  readonly step?: { readonly number: number; readonly sum: number };
  /** Values of the output; undefined where it failed. */
  readonly values: readonly number[] | undefined;
  readonly where: string | undefined;
  readonly reason: Reason | undefined;
  readonly message: string;
}

/** An app that sends requests. */
export interface StartedApp {
  /** Sends all of its requests; resolves when all were answered. */
  run(done: (outcome: RequestEnd) => void): Promise<void>;
  close(): Promise<void>;
}

/** Starts an app on its machine. */
export async function startApp(
  spec: AppSpec,
  machine: Machine,
  surroundings: Surroundings,
  reachable: readonly EndpointInfo[],
  found: { readonly directoryAt: string; readonly ring?: KeyRing; readonly disk: Disk } | undefined,
): Promise<StartedApp> {
  const { clock, random } = machine;
  const observer = observerOf(machine, surroundings);
  const dialler = diallerOn(machine, surroundings);
  const info = { ...infoOf(spec.name, { tier: "device", zone: "device", trust: "vouched" }) };
  const local =
    spec.models.length > 0
      ? engineOn(machine, surroundings, info, repositoryOf(repositoryFiles(spec.models)), 0.5)
      : undefined;
  const directory =
    found &&
    createDirectory({
      source: remoteSource({
        transport: surroundings.network.transport(machine, found.directoryAt),
        clock,
        random,
        name: found.directoryAt,
        crc32,
      }),
      memory: memoryOn(found.disk, clock),
      clock,
      observer,
      codecs: [...codecs.keys()],
      ...(found.ring ? { ring: found.ring } : { unsignedTrust: "vouched" as const }),
    });
  const offloader = createOffloader({
    id: spec.name,
    ...(local ? { local } : {}),
    ...(directory ? { directory, dial: (one) => dialler.dial(one) } : {}),
    endpoints: directory ? [] : reachable.map((one) => dialler.dial(one)),
    policy,
    clock,
    random,
    observer,
    links: (id) => dialler.link(id),
    checks: { sampleRatio: 0 },
  });
  await directory?.ready;
  const [first] = reachable;
  const plain = spec.plain && first ? plainClient(dialler.dial(first), clock, random) : undefined;

  const waitUntil = (atMs: number): Promise<void> =>
    new Promise((resolve) => void clock.timer(atMs - clock.nowMs(), resolve));

  async function settle(
    request: RequestSpec,
    ask: () => Promise<PlainAnswer>,
    done: (outcome: RequestEnd) => void,
    step?: RequestEnd["step"],
  ): Promise<boolean> {
    const askedMs = clock.nowMs();
    const about = { request, app: spec.name, askedMs, ...(step ? { step } : {}) };
    try {
      const { outputs, where } = await ask();
      const y = outputs.get("y");
      const values = y ? [...float32View(y)] : [];
      done({ ...about, doneMs: clock.nowMs(), values, where, reason: undefined, message: "" });
      return true;
    } catch (thrown) {
      const { reason, message } = LongshoreError.from(thrown, "execute", "asking");
      done({ ...about, doneMs: clock.nowMs(), values: undefined, where: undefined, reason, message });
      return false;
    }
  }

  return {
    async run(done) {
      const asked = spec.requests.map(async (request) => {
        await waitUntil(request.atMs);
        await settle(request, () => infer(offloader, request), done);
      });
      const stepped = spec.sequences.map(async ({ steps }) => {
        await using sequence = plain?.sequence() ?? offloader.sequence("count");
        let sum = 0;
        for (const [number, request] of steps.entries()) {
          await waitUntil(request.atMs);
          sum += request.values[0] ?? 0;
          const end = number === steps.length - 1;
          const limits = { ...limitsOf(request), end };
          const ask = (): Promise<PlainAnswer> => sequence.next({ x: inputOf(request) }, limits);
          // An app without an answer cannot go on: whether the step was made is unknown.
          if (!(await settle(request, ask, done, { number, sum }))) return;
        }
      });
      await Promise.all([...asked, ...stepped]);
    },
    async close() {
      await offloader.close();
      await plain?.close();
      await directory?.[Symbol.asyncDispose]();
    },
  };
}

function inputOf({ tag, values }: RequestSpec) {
  return float32Tensor("x", [1, values.length + 1], Float32Array.from([tag, ...values]));
}

function limitsOf({ deadlineMs, dataClass, zones, leastTrust, idempotencyKey }: RequestSpec) {
  return {
    ...(deadlineMs === Infinity ? {} : { deadlineMs }),
    dataClass,
    leastTrust,
    ...(zones ? { zones } : {}),
    ...(idempotencyKey === undefined ? {} : { idempotencyKey }),
  };
}

function infer(offloader: Offloader, request: RequestSpec): Promise<Result> {
  return offloader.infer(request.alias ?? request.model, { x: inputOf(request) }, limitsOf(request));
}
