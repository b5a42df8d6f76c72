import { LongshoreError } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { InferenceSession, Runtime } from "@longshore/engine";
import { artifactOf } from "@longshore/testkit";
import { describe, expect, it } from "vitest";
import { chooseRuntime, type RuntimePassedOver } from "./choose-runtime.ts";

const call = housekeepingCall("choose");
const session = {} as InferenceSession;

function runtime(name: string, load: () => Promise<InferenceSession>, closed: string[] = []): Runtime {
  return { name, load, close: async () => void closed.push(name) };
}
const refuses = (name: string, reason: "unsupported" | "invalid-model"): Runtime =>
  runtime(name, () => Promise.reject(new LongshoreError(reason, "execute", `${name} refuses`)));

describe("chooseRuntime", () => {
  it("takes the first that loads the model and tells which were passed over", async () => {
    const facts: RuntimePassedOver[] = [];
    const chosen = chooseRuntime(
      [
        refuses("cuda", "unsupported"),
        runtime("cpu", () => Promise.resolve(session)),
        refuses("wasm", "unsupported"),
      ],
      (fact) => facts.push(fact),
    );
    expect(await chosen.load(await artifactOf(new Uint8Array()), {}, call)).toBe(session);
    expect(facts.map(({ runtime, why }) => [runtime, why.reason])).toEqual([["cuda", "unsupported"]]);
  });

  it("throws what the last one says when none takes the model", async () => {
    const chosen = chooseRuntime([refuses("native", "unsupported"), refuses("wasm", "invalid-model")]);
    await expect(chosen.load(await artifactOf(new Uint8Array()), {}, call)).rejects.toMatchObject({
      reason: "invalid-model",
    });
  });

  it("does not try the next when the call has ended", async () => {
    const controller = new AbortController();
    let tried = 0;
    const ends = runtime("native", () => {
      controller.abort();
      return Promise.reject(new LongshoreError("cancelled", "execute", "ended"));
    });
    const counts = runtime("wasm", () => {
      tried++;
      return Promise.resolve(session);
    });
    const chosen = chooseRuntime([ends, counts]);
    await expect(
      chosen.load(await artifactOf(new Uint8Array()), {}, housekeepingCall("ends", controller.signal)),
    ).rejects.toMatchObject({ reason: "cancelled" });
    expect(tried).toBe(0);
  });

  it("closes all, and refuses to choose from nothing", async () => {
    const closed: string[] = [];
    const never = (): Promise<InferenceSession> => Promise.resolve(session);
    await chooseRuntime([runtime("a", never, closed), runtime("b", never, closed)]).close();
    expect(closed).toEqual(["a", "b"]);
    expect(() => chooseRuntime([])).toThrow(
      expect.objectContaining({ reason: "invalid-configuration" }) as Error,
    );
  });
});
