import { setFlagsFromString } from "node:v8";
import { runInThisContext } from "node:vm";
import { planWorld, randomScene } from "@longshore/testkit";
import { expect, it } from "vitest";
import { seededRandom } from "../../words/base/index.ts";
import { waitMsAt, withAvailable, withFailing, withLoads } from "./endpoint-table.ts";

/** Whether the engine that runs this takes two objects for alike: what it compiled for the one serves the other. */
function shapes(): (one: object, other: object) => boolean {
  setFlagsFromString("--allow-natives-syntax");
  return runInThisContext("(one, other) => %HaveSameMap(one, other)") as ReturnType<typeof shapes>;
}

it("is of one shape, whatever happens to an endpoint: what reads it need not be compiled again in the middle of a failure", () => {
  const alike = shapes();
  const random = seededRandom(1);
  const { view, endpoints: endpointStates } = randomScene(random, planWorld(random), {
    endpoints: 2,
    variety: false,
  });
  const { endpoints } = view;
  const [id = ""] = endpoints.ids;
  const loaded = withLoads(
    endpoints,
    endpointStates.map((endpoint) => endpoint.view),
  );
  const failing = withFailing(loaded, [{ id, penaltyMs: 3, unavailable: "it fails" }]);
  const available = withAvailable(failing, id);
  expect([loaded, failing, available].map((table) => alike(endpoints, table))).toEqual([true, true, true]);
  expect([failing.unavailable[0], available.unavailable[0]]).toEqual(["it fails", undefined]);
  expect(waitMsAt(failing, 0)).toBe(waitMsAt(loaded, 0) + 3);
});
