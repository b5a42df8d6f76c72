import { setMaxListeners } from "node:events";
import { endCut, float32Tensor, housekeepingCall, startCut, type Tensors, tensorsOf } from "@longshore/core";
import { createEngine, type Engine } from "@longshore/engine";
import {
  manualClock,
  type ManualClock,
  memoryEngineParts,
  memoryFile,
  memoryStore,
  oneStage,
} from "@longshore/testkit";

/** An engine with one instance of one model, whose runs take what they are told to on a clock that stands still meanwhile. */
export interface VirtualEndpoint {
  readonly clock: ManualClock;
  readonly engine: Engine;
}

const x = { name: "x", datatype: "FP32", shape: [-1, 2] } as const;

/** @param batching The `batching` of its `model.yaml`. @param runMs Time of a run of so many rows, in milliseconds. */
export function virtualEndpoint(batching: object, runMs: (rows: number) => number): VirtualEndpoint {
  const clock = manualClock();
  const model = oneStage(
    [x],
    [{ ...x, name: "y" }],
    (feeds) => runMs(feeds.get("x")?.spec.shape[0] ?? 0),
    (feeds) => {
      const came = feeds.get("x");
      return came ? tensorsOf({ ...came, spec: { ...came.spec, name: "y" } }) : new Map();
    },
  );
  const yaml = `batching: ${JSON.stringify(batching)}\n`;
  const store = memoryStore({ "m/model.yaml": yaml, "m/1/model.onnx": memoryFile("m") });
  const engine = createEngine({
    ...memoryEngineParts({ clock, models: { m: model }, store }),
    limits: { maxQueued: 4096, maxInFlight: 8192 },
  });
  return { clock, engine };
}

/** A request at an instant. */
export interface Arrival {
  readonly tenant: string;
  readonly atMs: number;
}

const segment = { model: "m", version: "", digest: "", variant: "", from: startCut, to: endCut };

/**
 * Sends requests at their instants, whatever became of those before. Gives by tenant the times to their answers, in milliseconds;
 * a request without one counts with `patientMs`, which all allow.
 */
export async function play(
  { clock, engine }: VirtualEndpoint,
  arrivals: readonly Arrival[],
  patientMs: number = Infinity,
): Promise<ReadonlyMap<string, readonly number[]>> {
  const startMs = clock.nowMs() + 1;
  const times = new Map<string, number[]>();
  const inputs: Tensors = tensorsOf(float32Tensor("x", [1, 2], new Float32Array(2)));
  const base = housekeepingCall("bench");
  setMaxListeners(0, base.abort);
  const ask = async ({ tenant, atMs }: Arrival): Promise<void> => {
    const call = { ...base, tenant, deadlineMs: startMs + atMs + patientMs };
    const answered = await engine.infer({ segment, inputs, codecs: {} }, call).then(
      () => true,
      () => false,
    );
    const own = times.get(tenant) ?? [];
    own.push(answered ? clock.nowMs() - startMs - atMs : patientMs);
    times.set(tenant, own);
  };
  const under: Promise<void>[] = [];
  for (const arrival of arrivals) {
    await clock.advance(startMs + arrival.atMs - clock.nowMs());
    under.push(ask(arrival));
  }
  await clock.finish(Promise.all(under));
  return times;
}
