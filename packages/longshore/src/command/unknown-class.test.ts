import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { command } from "../../test/command.ts";
import { writeDouble } from "../../test/models.ts";
import { gateway } from "../compose/forwarding.ts";
import { openOffloader } from "../compose/open-offloader.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-class-"));
  await writeDouble(folder);
});

afterAll(() => rm(folder, { recursive: true, force: true }));

const known = "known: public, internal, personal, restricted";

it.each([
  ["serve", ["serve", ".", "--port", "0", "--no-grpc-port"], "--data-class names the data class 'intrenal'"],
  ["gateway", ["gateway", "--port", "0", "--no-grpc-port"], "--data-class names the data class 'intrenal'"],
  ["pick", ["pick", "--at", "http://127.0.0.1:1"], "--data-class is 'intrenal'"],
])(
  "%s refuses a data class that its policy does not know, and names the known ones",
  async (_, words, what) => {
    const refused = await command(...words, "--data-class", "intrenal");
    expect(refused).toMatchObject({ code: 2 });
    expect(refused.notes).toContain(what);
    expect(refused.notes).toContain(known);
  },
  30_000,
);

it.each(["infer", "plan"])("%s refuses an input of a class that the policy does not know", async (name) => {
  const model = join(folder, "double");
  const refused = await command(name, model, "--random", "--data-class", "intrenal");
  expect(refused).toMatchObject({ code: 2 });
  expect(refused.notes).toContain("'intrenal', which the policy does not know");
  expect(refused.notes).toContain(known);
  expect((await command(name, model, "--random", "--data-class", "restricted")).code).toBe(0);
});

it("openOffloader and gateway() refuse a usual class that the policy does not know", async () => {
  const wrong = { reason: "invalid-configuration", message: expect.stringContaining(known) };
  await expect(
    openOffloader({ repository: folder, defaults: { dataClass: "intrenal" } }),
  ).rejects.toMatchObject(wrong);
  await expect(
    gateway({ servers: ["http://127.0.0.1:1"], port: 0, grpcPort: 0, dataClass: "intrenal" }),
  ).rejects.toMatchObject(wrong);
});
