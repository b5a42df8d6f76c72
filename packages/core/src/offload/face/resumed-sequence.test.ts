import { doubleDescription, doubleEndpoint, doubleInfo, doubleOffer, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import {
  type Call,
  housekeepingCall,
  LongshoreError,
  seededRandom,
  silentObserver,
} from "../../words/base/index.ts";
import {
  type Endpoint,
  type EndpointInfo,
  nextStep,
  type SequenceStanding,
} from "../../wire/endpoint/index.ts";
import type { Directory, DirectorySnapshot } from "../../fleet/directory/index.ts";
import { legKey } from "../../decide/plan/index.ts";
import { tablePolicy } from "../../decide/policy/index.ts";
import { float32Tensor, tensorsOf } from "../../words/tensor/index.ts";
import { offloadEndpoint } from "./offload-endpoint.ts";

const description = doubleDescription({
  name: "count",
  digest: `sha256:${"7".repeat(64)}`,
  inputs: [{ name: "x", datatype: "FP32", shape: [1] }],
  outputs: [{ name: "y", datatype: "FP32", shape: [1] }],
  dataClass: "internal",
});

type Told = SequenceStanding | undefined | LongshoreError;

const standing = (step: number, idleMs: number, more: Partial<SequenceStanding> = {}): SequenceStanding => ({
  step,
  ended: false,
  idleMs,
  ...more,
});
const away = new LongshoreError("unreachable", "transport", "it is away");

/** A server that answers each question about a sequence with this, after what the question waits for, and notes what it ran. */
function server(
  id: string,
  zone: string,
  told: Told,
  ran: string[],
  asked: string[],
  arrives: () => Promise<number>,
): Endpoint {
  const info = { ...doubleInfo, id, zone, state: "movable" as const };
  const double = doubleEndpoint(
    [
      {
        description,
        offers: [doubleOffer(description, info, 5)],
        run: () => tensorsOf(float32Tensor("y", [1], Float32Array.of(1))),
      },
    ],
    info,
  );
  return {
    ...double,
    infer(request, call) {
      ran.push(`${id} step ${request.sequence?.step}`);
      return double.infer(request, call);
    },
    capabilities: {
      ...double.capabilities,
      async sequence() {
        asked.push(id);
        const passedMs = await arrives();
        if (told instanceof LongshoreError) throw told;
        return told && { ...told, idleMs: told.idleMs + passedMs };
      },
    },
  };
}

/**
 * A gateway that has just started, over servers that know this of the sequence: of a list, or of a directory that is settling
 * and has this to say.
 */
function gateway(
  servers: Readonly<Record<string, Told>>,
  snapshot?: Pick<DirectorySnapshot, "settling" | "remembered">,
  /** Joins after this request has begun to look, and then the directory has settled. Default: all are listed from the start. */
  late?: string,
  /** How long each question travels, in milliseconds, by its number. Default: no time. */
  travelMs: (question: number) => number = () => 0,
) {
  const clock = manualClock();
  const ran: string[] = [];
  const asked: string[] = [];
  const beganMs = clock.nowMs();
  const arrives = async (): Promise<number> => {
    const ms = travelMs(asked.length);
    if (ms > 0) await new Promise<void>((resolve) => void clock.timer(ms, resolve));
    return clock.nowMs() - beganMs;
  };
  const endpoints = Object.entries(servers).map(([id, told]) =>
    server(id, id.slice(0, 2), told, ran, asked, arrives),
  );
  const infos = endpoints.map(({ info }) => info);
  const started = infos.filter(({ id }) => id !== late);
  let state: DirectorySnapshot = { entries: started, ageMs: 0, ...snapshot };
  const directory: Directory = {
    snapshot: () => state,
    watch(changed) {
      const change = (to: DirectorySnapshot): void => {
        state = to;
        changed();
      };
      if (late !== undefined) {
        clock.timer(2000, () => change({ ...state, entries: infos }));
        clock.timer(4000, () => change({ entries: infos, ageMs: 0 }));
      }
      return { [Symbol.dispose]: () => undefined };
    },
  };
  const dial = ({ id }: EndpointInfo): Endpoint => endpoints.find(({ info }) => info.id === id)!;
  const endpoint = offloadEndpoint({
    ...(snapshot ? { directory, dial } : { endpoints }),
    info: { ...doubleInfo, id: "gate", zone: "eu" },
    policy: tablePolicy({ internal: { leastTrust: "none" } }),
    clock,
    random: seededRandom(3),
    observer: silentObserver,
    links: () => undefined,
  });
  const { segment } = doubleOffer(description, doubleInfo, 1);
  const send = (step: number, change: Partial<Call> = {}) => {
    const call: Call = {
      ...housekeepingCall("c"),
      rules: { dataClass: "internal", leastTrust: "none" },
      deadlineMs: clock.nowMs() + 5000,
      ...change,
    };
    const inputs = tensorsOf(float32Tensor("x", [1], Float32Array.of(3)));
    const sequence = { id: "s", step, end: false, wantState: false };
    return clock.finish(endpoint.infer({ segment, inputs, codecs: {}, sequence }, call));
  };
  return { send, ran, asked };
}

it("a step without a number goes to the newest state, and takes the number that follows", async () => {
  const { send, ran } = gateway({ eu1: standing(3, 9000), eu2: standing(5, 400), eu3: undefined });
  await send(nextStep);
  await send(nextStep);
  expect(ran).toEqual(["eu2 step 6", "eu2 step 7"]);
});

it("a step without a number runs nowhere while a server that may hold a newer state does not answer", async () => {
  const { send, ran } = gateway({ eu1: standing(3, 9000), eu2: away });
  await expect(send(nextStep)).rejects.toMatchObject({
    reason: "no-endpoint",
    retryable: true,
    retryAfterMs: 1000,
    message: expect.stringContaining("eu2 may hold it and did not say") as string,
  });
  expect(ran).toEqual([]);
});

it("a step without a number waits for servers that may be missing, and not if all from before are listed", async () => {
  const servers = { eu1: standing(3, 9000), eu2: undefined };
  const missing = gateway(servers, { settling: true });
  await expect(missing.send(nextStep)).rejects.toMatchObject({
    reason: "no-endpoint",
    message: expect.stringContaining("servers are still missing") as string,
  });
  expect(missing.ran).toEqual([]);
  const complete = gateway(servers, { settling: true, remembered: true });
  await complete.send(nextStep);
  expect(complete.ran).toEqual(["eu1 step 4"]);
});

it("a step without a number asks servers that join while it waits", async () => {
  const servers = { eu1: undefined, eu2: standing(3, 9000) };
  const { send, ran, asked } = gateway(servers, { settling: true }, "eu2");
  await send(nextStep);
  expect(ran).toEqual(["eu2 step 4"]);
  expect(asked).toEqual(["eu1", "eu2"]);
});

it("a step with a number goes to the state before it, whatever the others say", async () => {
  const { send, ran } = gateway({ eu1: standing(3, 9000), eu2: away, eu3: standing(1, 1) });
  await send(4);
  expect(ran).toEqual(["eu1 step 4"]);
});

it("uses no server that the rules forbid, and does not take an older state for the newest then", async () => {
  const { send, ran, asked } = gateway({ eu1: standing(3, 9000), us1: standing(5, 1) });
  const rules = { dataClass: "internal", leastTrust: "none", zones: ["eu"] } as const;
  await expect(send(nextStep, { rules })).rejects.toMatchObject({
    reason: "sequence-lost",
    code: "ABORTED",
    message: expect.stringContaining("begin the sequence again") as string,
  });
  await send(4, { rules });
  expect(ran).toEqual(["eu1 step 4"]);
  expect(asked).not.toContain("us1");
});

it("a repeated step of the same key gets the number that it had", async () => {
  const idempotencyKey = "the key";
  const call = { ...housekeepingCall("before"), idempotencyKey };
  const { segment } = doubleOffer(description, doubleInfo, 1);
  const key = legKey(call, { segment, codecs: {}, state: "resident" });
  const { send, ran } = gateway({ eu1: standing(5, 400, { key }) });
  await send(nextStep, { idempotencyKey });
  expect(ran).toEqual(["eu1 step 5"]);
});

it("a step without a number goes to a state that is newer by less time than a question takes, as soon as answers prove it", async () => {
  // The first questions travel for 100 ms, so that their answers do not tell which of two states is newer. Later ones do.
  const servers = { eu1: standing(8, 90), eu2: standing(9, 20) };
  const { send, ran, asked } = gateway(servers, undefined, undefined, (question) =>
    question <= 2 ? 100 : 5,
  );
  await send(nextStep);
  expect(ran).toEqual(["eu2 step 10"]);
  expect(asked).toHaveLength(4);
});

it("a sequence whose newest state no answer tells apart is lost, and begins again", async () => {
  const servers = { eu1: standing(8, 90), eu2: standing(9, 20) };
  const { send, ran } = gateway(servers, undefined, undefined, () => 100);
  await expect(send(nextStep)).rejects.toMatchObject({
    reason: "sequence-lost",
    message: expect.stringContaining("eu2 and eu1 both hold a state") as string,
  });
  expect(ran).toEqual([]);
  await send(0);
  expect(ran).toHaveLength(1);
});

it.each([
  ["that no server knows", {}],
  ["that has ended", { eu1: standing(5, 400, { ended: true }) }],
])("a sequence %s is unknown", async (_, servers) => {
  const { send, ran } = gateway({ eu9: undefined, ...servers });
  await expect(send(nextStep)).rejects.toMatchObject({ reason: "sequence-unknown" });
  expect(ran).toEqual([]);
});
