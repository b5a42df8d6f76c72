import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { tritonModels, writeModels } from "@longshore/testkit";
import { keyStore } from "./key-store.ts";
import { openModel } from "../engine/open-model.ts";
import { type RunningServer, serve } from "./serve.ts";

let folder: string;
let server: RunningServer;
let key: string;
/** Of a sender that sees all models. */
let other: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-seen-"));
  const port = (kind: string, name: string): string =>
    `${kind} { name: "${name}" data_type: TYPE_INT8 dims: [ 1, 16 ] }`;
  const map = (kind: string, name: string): string => `${kind} { key: "${name}" value: "${name}" }`;
  await writeModels(join(folder, "models"), {
    ...tritonModels(),
    "our-pair/1/nothing.txt": "",
    "our-pair/config.pbtxt": `platform: "ensemble"
      ${port("input", "INPUT0")} ${port("input", "INPUT1")} ${port("output", "OUTPUT0")}
      ensemble_scheduling { step { model_name: "simple_int8" model_version: -1
        ${map("input_map", "INPUT0")} ${map("input_map", "INPUT1")} ${map("output_map", "OUTPUT0")} } }`,
  });
  const keys = keyStore(join(folder, "keys.json"), Date.now);
  key = (await keys.add({ tenant: "acme", rights: ["infer", "manage"] })).text;
  const identity = join(folder, "identity.yaml");
  other = (await keys.add({ tenant: "other", rights: ["infer"] })).text;
  const tenants = "tenants: { acme: { models: ['our-*', simple] }, other: {} }";
  await writeFile(identity, `keys: { file: keys.json }\n${tenants}\n`);
  const { store } = await openModel(join(folder, "models"));
  server = await serve({ store, port: 0, identity, allowManagement: true });
});
afterAll(async () => {
  await server.close(0);
  await rm(folder, { recursive: true, force: true });
});

async function load(model: string, parameters: object = {}, what = "load") {
  const reply = await fetch(`${server.address}/v2/repository/models/${model}/${what}`, {
    method: "POST",
    headers: { authorization: `Bearer ${key}` },
    body: JSON.stringify({ parameters }),
  });
  return { status: reply.status, text: await reply.text() };
}

/** An ensemble around one model of sums. */
const around = (model: string, type: string) => ({
  config: JSON.stringify({
    platform: "ensemble",
    input: ["INPUT0", "INPUT1"].map((name) => ({ name, data_type: type, dims: [1, 16] })),
    output: [{ name: "OUTPUT0", data_type: type, dims: [1, 16] }],
    ensemble_scheduling: {
      step: [
        {
          model_name: model,
          model_version: -1,
          input_map: { INPUT0: "INPUT0", INPUT1: "INPUT1" },
          output_map: { OUTPUT0: "OUTPUT0" },
        },
      ],
    },
  }),
});

it("makes no ensemble of models that its loader does not see", async () => {
  expect((await load("our-sums", around("simple", "TYPE_INT32"))).status).toBe(200);
  const hidden = await load("our-others", around("simple_int8", "TYPE_INT8"));
  const absent = await load("our-others", around("absent", "TYPE_INT8"));
  expect(hidden.status).toBeGreaterThanOrEqual(400);
  expect({ ...hidden, text: hidden.text.replaceAll("simple_int8", "absent") }).toEqual(absent);
  expect(absent.text).not.toContain("simple");
});

it("names no models that the requester of another one does not see", async () => {
  const { status, text } = await load("our-absent");
  expect(status).toBe(404);
  expect(text).not.toContain("simple");
});

it("unloads no models that the unloader of their pipeline does not see", async () => {
  const ready = async (model: string): Promise<number> => {
    const headers = { authorization: `Bearer ${other}` };
    return (await fetch(`${server.address}/v2/models/${model}/ready`, { headers })).status;
  };
  expect(await ready("our-pair")).toBe(200);
  expect((await load("our-pair", { unload_dependents: true }, "unload")).status).toBe(200);
  expect([await ready("our-pair"), await ready("simple_int8")]).toEqual([404, 200]);
});
