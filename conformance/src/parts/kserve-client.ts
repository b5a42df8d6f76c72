import { fileURLToPath } from "node:url";
import { kserve, run } from "../install/index.ts";
import { asked, lastWords, type Part } from "./part.ts";

const script = fileURLToPath(new URL("../../python/kserve_client.py", import.meta.url));

/** KServe's Python client over both wires. */
export const kserveClientPart: Part = {
  name: "kserve-client",
  async run(context) {
    const tools = await kserve();
    const { http, grpc } = context.server;
    for (const [name, address] of [
      ["http", http],
      ["grpc", grpc],
    ] as const) {
      if (!asked(context, name)) continue;
      if (address === undefined) {
        context.told({ name, outcome: "skipped", detail: "the server has no gRPC port" });
        continue;
      }
      const { code, out, err } = await run(tools.python, [script, name, address], { timeoutMs: 300_000 });
      context.told({
        name,
        outcome: code === 0 ? "passed" : "failed",
        detail: code === 0 ? "" : lastWords(out, err),
      });
    }
  },
};
