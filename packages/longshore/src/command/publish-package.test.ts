import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { newOperatorKey } from "@longshore/nodejs";
import { command } from "../../test/command.ts";
import { writeDouble } from "../../test/models.ts";

let folder: string;
const file = (name: string): string => join(folder, name);
const publish = (to: string, ...more: readonly string[]) =>
  command(
    "package",
    "publish",
    file("models/double"),
    "--to",
    to,
    "--operator-keys",
    file("operator.pub"),
    ...more,
  );

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "longshore-push-"));
  await writeDouble(file("models"));
  await writeFile(file("models/double/labels.txt"), "one\n");
  const key = newOperatorKey();
  await writeFile(file("operator.pem"), key.privatePem);
  await writeFile(file("operator.pub"), key.publicLine);
});
afterAll(() => rmSync(folder, { recursive: true }));

it("publishes only what was signed, to a registry or a folder", async () => {
  expect((await publish(file("www"))).notes).toContain("sign it first");
  const { out: digest } = await command(
    "package",
    "sign",
    file("models/double"),
    "--key",
    file("operator.pem"),
    "--serial",
    "7",
  );
  const pushed = await publish(file("www"), "--json");
  expect([pushed.code, JSON.parse(pushed.out)]).toEqual([
    0,
    { to: file("www"), digest, model: "double", serial: 7, at: file("www"), sent: 2, kept: 0 },
  ]);
  expect(readdirSync(file("www/models"))).toEqual(["double.json"]);
  expect(readdirSync(file("www/files"))).toHaveLength(2);

  expect((await publish("http://127.0.0.1:8000")).notes).toContain("--to is oci:HOST/REPOSITORY, nats:HOST");
  expect((await publish("oci:HOST")).notes).toContain("oci:HOST[:PORT]/REPOSITORY");
  expect((await publish(`oci:registry.example/models@${digest}`)).notes).toContain(
    "follows from what is published",
  );
  expect((await publish(file("www"), "--packages-key", file("operator.pem"))).notes).toContain(
    "--packages-key needs --to oci:",
  );
  const later = file("www/models/double.json");
  const { body } = JSON.parse(await readFile(later, "utf8"));
  await writeFile(later, JSON.stringify({ body: { ...body, serial: 8 } }));
  expect((await publish(file("www"))).notes).toContain("package-outdated");
  await writeFile(file("models/double/labels.txt"), "two\n");
  expect((await publish(file("other"))).notes).toContain("labels.txt has another content");
});
