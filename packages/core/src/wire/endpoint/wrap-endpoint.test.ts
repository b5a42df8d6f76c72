import { doubleDescription, doubleEndpoint, wrapperContract } from "@longshore/testkit";
import { expect, it } from "vitest";
import { housekeepingCall } from "../../words/base/index.ts";
import type { Endpoint } from "./endpoint.ts";
import { wrapEndpoint } from "./wrap-endpoint.ts";

const call = housekeepingCall("test");

wrapperContract("that changes nothing", { wrap: (inner) => wrapEndpoint(inner, {}) });
wrapperContract("that takes one capability away, replaces one and adds none", {
  wrap: (inner) =>
    wrapEndpoint(inner, {
      capabilities: { known: undefined, lacks: inner.capabilities.lacks && (() => 0) },
    }),
  removes: ["known"],
  replaces: ["lacks"],
});

it("keeps the methods of an instance of a class, which a spread loses", async () => {
  class Inner implements Endpoint {
    readonly #double = doubleEndpoint([
      { description: doubleDescription({ name: "double" }), run: () => new Map() },
    ]);
    readonly info = this.#double.info;
    readonly capabilities = {};
    describe: Endpoint["describe"] = (...asked) => this.#double.describe(...asked);
    offers(...asked: Parameters<Endpoint["offers"]>) {
      return this.#double.offers(...asked);
    }
    infer(...asked: Parameters<Endpoint["infer"]>) {
      return this.#double.infer(...asked);
    }
    close() {
      return this.#double.close();
    }
  }
  const wrapped = wrapEndpoint(new Inner(), { describe: async () => undefined });
  expect(await wrapped.describe("double", undefined, call)).toBeUndefined();
  expect(await wrapped.offers({ model: "double" }, call)).toEqual([]);
  await wrapped.close();
});
