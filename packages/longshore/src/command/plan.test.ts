import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { constantTrace, linkProxy } from "@longshore/lab";
import { command } from "../../test/command.ts";
import { writeDouble, writeTotal } from "../../test/models.ts";
import { openModel } from "../engine/open-model.ts";
import { serve } from "../compose/serve.ts";
import { explained } from "./plan.ts";

it("a plan waits for the first offer of a server that is far away, and lists the server", async () => {
  const folder = await mkdtemp(join(tmpdir(), "longshore-plan-"));
  await writeDouble(folder);
  const server = await serve({ store: (await openModel(folder)).store, port: 0, grpcPort: 0 });
  // A request would not wait for an offer that takes this long, since this device has the model.
  const far = await linkProxy({
    target: { port: Number(new URL(server.address).port) },
    up: constantTrace(100e6),
    down: constantTrace(100e6),
    delayMs: 400,
  });
  try {
    const model = [join(folder, "double"), "--random", "--at", `http://127.0.0.1:${far.port}`, "--explain"];
    const planned = await command("plan", ...model);
    expect(planned).toMatchObject({ code: 0, out: expect.stringContaining(`127.0.0.1:${far.port}`) });
    expect(planned.out).not.toContain("waiting for its first offer");
    const restricted = await command("plan", ...model, "--data-class", "restricted");
    expect(restricted.out).toContain("restricted");
  } finally {
    await far.close();
    await server.close(0);
    await rm(folder, { recursive: true, force: true });
  }
}, 120_000);

it("polls a server again whose offer did not come in time", async () => {
  const outcome = (because: string) =>
    ({ infeasible: true, filter: "unavailable", because, lost: [] }) as const;
  const outcomes = [
    outcome("no other endpoint takes it (edge: its offer did not come in time)"),
    outcome("the deadline is 5 ms away"),
  ];
  let refreshed = 0;
  const offloader = {
    explain: () => Promise.resolve(outcomes.shift() ?? outcome("asked too often")),
    refresh: () => Promise.resolve(void refreshed++),
  };
  const planned = await explained(
    { offloader, model: "m", inputs: {}, limits: {} },
    new AbortController().signal,
  );
  expect(planned.because).toBe("the deadline is 5 ms away");
  expect(refreshed).toBe(1);
});

it("runs where --only says, and where --prefer says if nothing forbids it", async () => {
  const folder = await mkdtemp(join(tmpdir(), "longshore-only-"));
  await writeDouble(folder);
  const server = await serve({ store: (await openModel(folder)).store, port: 0, grpcPort: 0 });
  const id = new URL(server.address).host;
  const model = [join(folder, "double"), "--random", "--at", server.address, "--data-class"];
  const runsAt = async (...options: readonly string[]): Promise<unknown> => {
    const ran = await command("infer", ...model, ...options, "--json");
    return ran.code === 0 ? JSON.parse(ran.out) : ran.said;
  };
  const at = (endpoint: string) => ({ accounts: [expect.objectContaining({ endpoint })] });
  try {
    expect(await runsAt("public", "--only", "edge")).toMatchObject(at(id));
    expect(await runsAt("public", "--only", id)).toMatchObject(at(id));
    expect(await runsAt("public", "--only", "device")).toMatchObject(at("device"));
    expect(await runsAt("public", "--prefer", id)).toMatchObject(at(id));
    expect(await runsAt("public", "--prefer", "device")).toMatchObject(at("device"));
    expect(await runsAt("restricted", "--prefer", id)).toMatchObject(at("device"));
    expect(await runsAt("restricted", "--only", id)).toContain("restricted");
  } finally {
    await server.close(0);
    await rm(folder, { recursive: true, force: true });
  }
}, 60_000);

it("says that --only names no endpoint", async () => {
  const folder = await mkdtemp(join(tmpdir(), "longshore-only-"));
  await writeDouble(folder);
  try {
    const ran = await command("infer", join(folder, "double"), "--random", "--only", "edgy");
    expect(ran.code).not.toBe(0);
    expect(ran.notes).toContain("edgy");
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}, 60_000);

it.each(["infer", "plan", "profile"])(
  "%s takes random inputs for a model with state",
  async (name) => {
    const folder = await mkdtemp(join(tmpdir(), "longshore-state-"));
    await writeTotal(folder);
    try {
      const random = name === "profile" ? ["--runs", "1"] : ["--random"];
      const ran = await command(name, join(folder, "total"), ...random);
      expect(ran).toMatchObject({ code: 0, notes: expect.not.stringContaining("error") });
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
  60_000,
);
