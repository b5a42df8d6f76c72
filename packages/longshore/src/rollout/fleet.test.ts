import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { command } from "../../test/command.ts";
import { type Fleet, openFleet } from "../../test/fleet.ts";
import { writeVersion } from "../../test/models.ts";

let folder: string;
let address: string;
let fleet: Fleet;
const side = 512;

/** Twice its input in versions: the second fails for what is not in its table, the third takes long, the fourth cannot be run. */
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "longshore-fleet-"));
  await writeVersion(folder, "table", "1", (build, x) => build.node("Add", [x, x], { outputs: ["y"] }));
  await writeVersion(folder, "table", "2", (build, x) => {
    const table = build.weights("table", "FP32", [4], Float32Array.of(0, 2, 4, 6));
    const index = build.node("Cast", [x], { attributes: { to: { int: 7 } } });
    return build.node("Gather", [table, index], { outputs: ["y"] });
  });
  await writeVersion(folder, "table", "3", (build, x) => {
    const zeros = build.weights("zeros", "FP32", [4, side], new Float32Array(4 * side));
    const row = build.node("MatMul", [x, zeros]);
    const square = build.node("MatMul", [build.node("Transpose", [row]), row]);
    let product = square;
    for (let round = 0; round < 4; round++) product = build.node("MatMul", [product, square]);
    const zero = build.node("ReduceMax", [product], { attributes: { keepdims: { int: 1 } } });
    return build.node("Add", [build.node("Add", [x, x]), zero], { outputs: ["y"] });
  });
  await writeVersion(folder, "table", "4", (build, x) =>
    build.node("NoSuchOperator", [x], { outputs: ["y"] }),
  );
  fleet = await openFleet(folder);
  ({ address } = fleet);
});
afterAll(async () => {
  await fleet.close();
  rmSync(folder, { recursive: true, force: true });
});

async function rollout(...args: readonly string[]): Promise<string> {
  return (await command("rollout", ...args, "--at", address)).said;
}

/** Every answer is right, whatever the fate of the candidate; gives the versions that answered, and its final status. */
async function callers(
  highest: number,
): Promise<{ readonly versions: ReadonlySet<string>; readonly status: string }> {
  const versions = new Set<string>();
  let status = "";
  for (let count = 1; count <= 400 && !status.includes("rolled back"); count++) {
    const data = [0, 1, 2, highest - (count % 2)];
    const body = JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data }] });
    const reply = await fetch(`${address}/v2/models/reader/infer`, { method: "POST", body });
    const json = (await reply.json()) as { model_version: string; outputs: { data: number[] }[] };
    expect([reply.status, json.outputs?.[0]?.data]).toEqual([200, data.map((value) => 2 * value)]);
    versions.add(json.model_version);
    if (count % 10 === 0) status = await rollout("status", "reader");
  }
  return { versions, status };
}

const loadedAt = (version: string): readonly boolean[] =>
  fleet.servers.map(({ engine }) =>
    engine.capabilities!.loaded!({
      model: "table",
      version,
      digest: "",
      variant: "default",
      from: "start",
      to: "end",
    }),
  );

it("the new target of an alias is loaded at all servers of a gateway before the switch", async () => {
  expect(loadedAt("1")).toEqual([false, false]);
  await rollout("set", "early", "--model", "table", "--to", "1");
  expect(loadedAt("1")).toEqual([true, true]);
  expect(await rollout("start", "early", "--to", "2")).toContain("canary of version 2");
  expect(loadedAt("2")).toEqual([true, true]);
  // A model file that no runtime takes.
  expect(await rollout("start", "early", "--to", "4")).toContain("could not be loaded");
  expect(await rollout("status", "early")).toMatch(/early +2 +table 1/);
});

it("a canary that fails at the servers of a gateway is covered, and rolled back", async () => {
  expect(await rollout("set", "reader", "--model", "table", "--to", "1")).toContain("leads to table 1");
  await rollout("start", "reader", "--to", "2", "--weight", "0.5");
  // Every other request is for a row that is not in its table.
  const { versions, status } = await callers(4);
  expect(status).toMatch(/rolled back: \d+ of \d+ requests failed, of the stable version 0 of \d+/);
  expect([...versions].sort()).toEqual(["1", "2"]);
  expect((await callers(4)).versions).toEqual(new Set(["1"]));
});

it("a repeated request with its idempotency key gets its earlier answer, wherever the alias leads", async () => {
  await rollout("set", "again", "--model", "table", "--to", "1");
  await rollout("start", "again", "--to", "2", "--weight", "1");
  const ask = async (key: string, x: number): Promise<readonly unknown[]> => {
    const data = [0, 1, 2, x];
    const body = JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data }] });
    const headers = { "idempotency-key": key };
    const reply = await fetch(`${address}/v2/models/again/infer`, { method: "POST", headers, body });
    const json = (await reply.json()) as { model_version: string; outputs: { data: number[] }[] };
    return [reply.status, json.model_version, json.outputs?.[0]?.data.at(-1)];
  };
  // The candidate failed, and the stable version answered.
  expect(await ask("a", 9)).toEqual([200, "1", 18]);
  expect(await ask("a", 9)).toEqual([200, "1", 18]);
  expect(await ask("b", 3)).toEqual([200, "2", 6]);
  await rollout("abort", "again");
  expect(await ask("b", 3)).toEqual([200, "2", 6]);
  expect((await ask("b", 2))[0]).toBe(400);
  expect(await ask("c", 3)).toEqual([200, "1", 6]);
});

it("a canary that takes long at the servers of a gateway is rolled back", async () => {
  await rollout("start", "reader", "--to", "3", "--weight", "0.5");
  const { versions, status } = await callers(3);
  expect(status).toMatch(/rolled back: \d+ of \d+ answers took more than/);
  expect([...versions].sort()).toEqual(["1", "3"]);
});
