import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { float32Tensor, float32View } from "@longshore/core";
import { afterEach, expect, it } from "vitest";
import { readAll } from "../../test/upstream.ts";
import { gateway, type GatewayOptions } from "./forwarding.ts";
import { openOffloader } from "./open-offloader.ts";

const open: { close(graceMs?: number): unknown }[] = [];
afterEach(async () => {
  for (const one of open.splice(0).reverse()) await one.close(0);
});

const port = (name: string) => ({ name, datatype: "FP32", shape: [-1] });
const ones = (...names: string[]) => names.map((name) => ({ ...port(name), shape: [1], data: [1] }));

/** As Triton does before a model that gives `y` for `x` and `z` for `mask`, which may be left out. */
async function triton(): Promise<string> {
  const server = createServer((request, response) => {
    void readAll(request).then((body) => {
      const told = (value: object): unknown =>
        response.writeHead(200, { "content-type": "application/json" }).end(JSON.stringify(value));
      const path = request.url?.replace("/versions/1", "");
      if (path === "/v2/models/m")
        return told({
          name: "m",
          versions: ["1"],
          inputs: ["x", "mask"].map(port),
          outputs: ["y", "z"].map(port),
        });
      if (path === "/v2/models/m/config")
        return told({ input: [{ name: "x" }, { name: "mask", optional: true }] });
      if (path !== "/v2/models/m/infer") return response.writeHead(404).end();
      const asked = /"inputs":.*"mask"/.test(body.toString("latin1")) ? ["y", "z"] : ["y"];
      const wanted = /"outputs":.*/.exec(body.toString("latin1"))?.[0];
      const outputs = ones(...asked.filter((name) => !wanted || wanted.includes(`"${name}"`)));
      return told({ model_name: "m", model_version: "1", outputs });
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push({ close: () => (server.closeAllConnections(), server.close()) });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

async function before(servers: NonNullable<GatewayOptions["servers"]>, id: string): Promise<string> {
  const running = await gateway({ port: 0, id, dataClass: "internal", servers });
  open.push(running);
  return running.address;
}

it.each([1, 2])(
  "inputs that Triton lets a request leave out may be left out through %s gateways",
  async (count) => {
    let address = await before([{ address: await triton(), kind: "oip" }], "near");
    if (count === 2) address = await before([{ address }], "far");
    const ask = async (inputs: readonly string[], outputs?: readonly string[]): Promise<unknown> => {
      const wanted = outputs && { outputs: outputs.map((name) => ({ name })) };
      const body = JSON.stringify({ inputs: ones(...inputs), ...wanted });
      const reply = await fetch(`${address}/v2/models/m/infer`, { method: "POST", body });
      const said = (await reply.json()) as { outputs?: { name: string }[]; error?: string };
      return said.outputs?.map(({ name }) => name) ?? said.error;
    };
    expect(await ask(["x"])).toEqual(["y"]);
    expect(await ask(["x", "mask"])).toEqual(["y", "z"]);
    expect(await ask(["x"], ["y", "z"])).toEqual(["y"]);
    expect(await ask(["x"], ["z"])).toEqual([]);
    expect(await ask(["mask"])).toContain("the input x is missing");
  },
);

it("inputs that Triton lets a request leave out may be left out by an app", async () => {
  const servers = [{ address: await triton(), kind: "oip" as const }];
  const app = await openOffloader({ servers, defaults: { dataClass: "internal" } });
  open.push(app);
  const x = float32Tensor("x", [1], Float32Array.of(1));
  const { outputs } = await app.infer("m", { x });
  expect([...outputs.keys()]).toEqual(["y"]);
  expect([...float32View(outputs.get("y")!)]).toEqual([1]);
  await expect(app.infer("m", {})).rejects.toMatchObject({
    message: expect.stringContaining("m takes x FP32 [-1]; mask FP32 [-1] (optional)") as string,
  });
});
