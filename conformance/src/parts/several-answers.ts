import { cp, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { run, tritonClient } from "../install/index.ts";
import { scripts, startGateway, startTritonPython } from "../servers/index.ts";
import { asked, lastWords, type Part, type PartContext, inFolder, type Open } from "./part.ts";

const script = fileURLToPath(new URL("../../python/several_answers.py", import.meta.url));

const model = "repeat";

/** A repository with the decoupled model, whose notes go to a file. */
async function repository(folder: string, notes: string): Promise<string> {
  const version = join(folder, model, "1");
  await mkdir(version, { recursive: true });
  await cp(join(scripts, "triton_repeat.py"), join(version, "model.py"));
  const port = (name: string, type: string): string =>
    `{ name: "${name}" data_type: TYPE_${type} dims: [ -1 ] }`;
  const lines = [
    `name: "${model}"`,
    `backend: "python"`,
    `max_batch_size: 0`,
    `model_transaction_policy { decoupled: true }`,
    `input [ ${port("IN", "INT32")}, ${port("DELAY", "UINT32")} ]`,
    `output [ ${port("OUT", "INT32")}, ${port("IDX", "UINT32")} ]`,
    `instance_group [ { count: 1 kind: KIND_CPU } ]`,
    `parameters { key: "notes" value: { string_value: "${notes}" } }`,
  ];
  await writeFile(join(folder, model, "config.pbtxt"), `${lines.join("\n")}\n`);
  return folder;
}

/** A server's answers to a request over HTTP, as kinds of frames (1 an answer, 2 an error, 0 the end). */
async function frames(
  address: string,
  values: readonly number[],
): Promise<{ status: number; kinds: readonly number[] }> {
  const port = (name: string, datatype: string, data: readonly number[]) => ({
    name,
    datatype,
    shape: [data.length],
    data,
  });
  const reply = await fetch(`http://${address}/v2/models/${model}/infer`, {
    method: "POST",
    headers: { "longshore-answers": "several" },
    body: JSON.stringify({
      inputs: [
        port("IN", "INT32", values),
        port(
          "DELAY",
          "UINT32",
          values.map(() => 0),
        ),
      ],
    }),
  });
  const bytes = Buffer.from(await reply.arrayBuffer());
  const kinds: number[] = [];
  if (reply.status === 200) {
    for (let at = 0; at < bytes.length; at += 12 + bytes.readUInt32LE(at + 8))
      kinds.push(bytes.readUInt32LE(at));
  }
  return { status: reply.status, kinds };
}

/** Waits until a file ends as it should; fails with what it holds. */
async function noted(file: string, last: string): Promise<string> {
  for (let round = 0; round < 1200; round++) {
    const lines = (await readFile(file, "utf8").catch(() => "")).trim().split("\n");
    if (lines.at(-1) === last) return "";
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  return `the model noted ${JSON.stringify(await readFile(file, "utf8").catch(() => ""))}`;
}

async function check(context: PartContext, folder: string, open: Open[]): Promise<void> {
  const told = (name: string, problem: string): void =>
    context.told({ name, outcome: problem === "" ? "passed" : "failed", detail: problem });
  const client = await tritonClient();
  const notes = join(folder, "notes.txt");
  const models = await repository(join(folder, "models"), notes);
  const first = await startTritonPython(models);
  open.push(first);
  const args = ["--at-kind", "oip", "--at-grpc", `http://${first.grpc}`];
  const before = await startGateway({ servers: [first.http], args, grpc: true });
  open.push(before);
  for (const [name, address] of [
    ["Triton's client at Triton itself", first.grpc],
    ["Triton's client at a gateway before it", before.grpc],
  ] as const) {
    if (!asked(context, name)) continue;
    await writeFile(notes, "");
    const { code, out, err } = await run(client.python, [script, address ?? ""], {
      timeoutMs: 300_000,
    });
    told(name, code === 0 ? "" : lastWords(out, err));
    told(
      `${name}: the model is told that its reader left`,
      code === 0 ? await noted(notes, "cancelled") : "not reached",
    );
  }
  const several = await frames(before.http, [1, 2, 3]);
  told("a gateway gives frames over HTTP", several.kinds.join() === "1,1,1,0" ? "" : JSON.stringify(several));
  const error = await frames(before.http, [1, -1, 3]);
  told("an error between them is the last frame", error.kinds.join() === "1,2" ? "" : JSON.stringify(error));
  const atOnce = await frames(before.http, [-1, 3]);
  told("an error before them has a status", atOnce.status === 500 ? "" : JSON.stringify(atOnce));
  // Triton crashes on the last of these if the kind of errors is requested.
  for (let round = 0; round < 3; round++) await frames(before.http, [-2]);
  const after = await frames(before.http, [1]);
  told("Triton bears errors before the end", after.kinds.join() === "1,0" ? "" : JSON.stringify(after));
}

/** A decoupled model of a real Triton with a gateway: each answer in order, errors between them, and readers that leave. */
export const severalAnswersPart: Part = {
  name: "several-answers",
  run: (context) => inFolder("several", (folder, open) => check(context, folder, open)),
};
