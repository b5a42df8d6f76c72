import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { Agent, request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { graphBuilder, writeModel } from "@longshore/graph";

/** A server process. */
export interface ImageServer {
  /**
   * Milliseconds of processor time of the whole process for each of this many requests, one after another, and the last answer.
   */
  cpuMs(ask: Ask, times: number): Promise<{ readonly ms: number; readonly answer: string }>;
  close(): Promise<void>;
}

/** A request. */
export interface Ask {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

/** A model that does next to nothing with an image: the mean of each channel. */
export function imageModels(): { readonly folder: string } & Disposable {
  const folder = mkdtempSync(join(tmpdir(), "longshore-json-"));
  const build = graphBuilder();
  const x = build.input("x", "FP32", [1, 3, "height", "width"]);
  build.output(build.node("GlobalAveragePool", [x], { outputs: ["y"] }), "FP32", [1, 3, 1, 1]);
  mkdirSync(join(folder, "means", "1"), { recursive: true });
  writeFileSync(join(folder, "means", "1", "model.onnx"), writeModel(build.model({ name: "means" })));
  return { folder, [Symbol.dispose]: () => rmSync(folder, { recursive: true, force: true }) };
}

const agent = new Agent({ keepAlive: true, maxSockets: 1 });

async function answered(address: string, { headers, body }: Ask): Promise<string> {
  const sent = request(`${address}/v2/models/means/infer`, {
    method: "POST",
    agent,
    headers: { ...headers, "content-length": body.byteLength },
  });
  sent.end(body);
  const [reply] = (await once(sent, "response")) as [
    NodeJS.ReadableStream & { readonly statusCode?: number },
  ];
  let text = "";
  for await (const chunk of reply) text += String(chunk);
  if (reply.statusCode !== 200)
    throw new Error(`the server answered ${reply.statusCode}: ${text.slice(0, 300)}`);
  return text;
}

/** Starts one on a folder of models. */
export async function startImageServer(folder: string, way: "text" | "parse"): Promise<ImageServer> {
  const child: ChildProcess = fork(fileURLToPath(new URL("./image-server.js", import.meta.url)), [
    folder,
    way,
  ]);
  const told = async (): Promise<unknown> => {
    const [message] = (await once(child, "message")) as [unknown];
    return message;
  };
  const address = String(await told());
  const cpu = async (): Promise<number> => {
    const answer = told();
    child.send("cpu");
    return Number(await answer);
  };
  return {
    async cpuMs(ask, times) {
      const before = await cpu();
      let answer = "";
      for (let time = 0; time < times; time++) answer = await answered(address, ask);
      return { ms: ((await cpu()) - before) / times, answer };
    },
    async close() {
      child.disconnect();
      await once(child, "exit");
    },
  };
}
