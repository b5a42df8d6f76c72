import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { bytesElements, bytesTensor } from "@longshore/core";
import { graphBuilder, writeModel } from "@longshore/graph";
import { afterAll, afterEach, expect, it } from "vitest";
import { before, closeAll, readAll, upstream } from "../../test/upstream.ts";
import { openModel } from "../engine/open-model.ts";
import { openOffloader } from "./open-offloader.ts";
import { serve } from "./serve.ts";

const folders: string[] = [];
afterEach(closeAll);
afterAll(() => Promise.all(folders.map((one) => rm(one, { recursive: true, force: true }))));

const elements = ["a\u0000b", "\u0000", "", "ü\u0000"].map((text) => new TextEncoder().encode(text));
const tensor = bytesTensor("x", elements);
const port = (name: string) => ({ name, datatype: "BYTES", shape: [-1] });

/** A server of another make that gives back the elements that it gets, as binary data and, for a JSON request, as JSON. */
function echo(): Promise<string> {
  return upstream(
    async (request, response) => {
      const body = await readAll(request);
      const length = Number(request.headers["inference-header-content-length"] ?? body.byteLength);
      const head = JSON.parse(body.subarray(0, length).toString()) as { inputs: { data?: unknown }[] };
      const data = body.subarray(length);
      const more = data.byteLength > 0 ? { parameters: { binary_data_size: data.byteLength } } : {};
      const output = {
        name: "y",
        datatype: "BYTES",
        shape: [4],
        ...more,
        ...(data.byteLength > 0 ? {} : { data: head.inputs[0]!.data }),
      };
      const json = Buffer.from(JSON.stringify({ model_name: "sum", model_version: "1", outputs: [output] }));
      response.writeHead(200, {
        "content-type": data.byteLength > 0 ? "application/octet-stream" : "application/json",
        ...(data.byteLength > 0 ? { "inference-header-content-length": json.byteLength } : {}),
      });
      response.end(Buffer.concat([json, data]));
    },
    [port("x")],
    [port("y")],
  );
}

it("an app gets elements with zero bytes back from a server through a gateway", async () => {
  const gate = await before([await echo()]);
  await using app = await openOffloader({ servers: [gate.address], beliefs: false });
  const { outputs } = await app.infer("sum", { x: tensor }, { dataClass: "internal" });
  expect(bytesElements(outputs.get("y")!)).toEqual(elements);
});

it.each([true, false])("a caller of the gateway does, too; binary: %s", async (isBinary) => {
  const gate = await before([await echo()]);
  const texts = elements.map((one) => new TextDecoder().decode(one));
  const more = isBinary ? { parameters: { binary_data_size: tensor.bytes.byteLength } } : { data: texts };
  const wanted = isBinary ? { outputs: [{ name: "y", parameters: { binary_data: true } }] } : {};
  const json = Buffer.from(
    JSON.stringify({ inputs: [{ name: "x", datatype: "BYTES", shape: [4], ...more }], ...wanted }),
  );
  const reply = await fetch(`${gate.address}/v2/models/sum/infer`, {
    method: "POST",
    headers: isBinary ? { "inference-header-content-length": `${json.byteLength}` } : {},
    body: isBinary ? Buffer.concat([json, tensor.bytes]) : json,
  });
  expect(reply.status).toBe(200);
  const body = Buffer.from(await reply.arrayBuffer());
  const length = Number(reply.headers.get("inference-header-content-length") ?? body.byteLength);
  if (isBinary) expect(new Uint8Array(body.subarray(length))).toEqual(tensor.bytes);
  else {
    const told = JSON.parse(body.toString()) as { outputs: { data: string[] }[] };
    expect(told.outputs[0]!.data).toEqual(texts);
  }
});

it("a model that the runtime reads refuses them, and says why", async () => {
  const folder = await mkdtemp(join(tmpdir(), "longshore-zero-bytes-"));
  folders.push(folder);
  const build = graphBuilder();
  const x = build.input("x", "BYTES", [-1]);
  build.output(build.node("Identity", [x], { outputs: ["y"] }), "BYTES", [-1]);
  await mkdir(join(folder, "same", "1"), { recursive: true });
  await writeFile(join(folder, "same", "1", "model.onnx"), writeModel(build.model({ name: "same" })));
  const server = await serve({ store: (await openModel(folder)).store, port: 0 });
  try {
    const body = JSON.stringify({
      inputs: [{ name: "x", datatype: "BYTES", shape: [1], data: ["a\u0000b"] }],
    });
    const reply = await fetch(`${server.address}/v2/models/same/infer`, { method: "POST", body });
    expect([reply.status, await reply.text()]).toEqual([400, expect.stringContaining("has a zero byte")]);
  } finally {
    await server.close(0);
  }
});
