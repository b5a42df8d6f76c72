import { fileURLToPath } from "node:url";
import { run, tritonClient } from "../install/index.ts";
import { startOwn } from "../servers/index.ts";
import { asked, lastWords, type Part } from "./part.ts";

const at = (path: string): string => fileURLToPath(new URL(`../../../${path}`, import.meta.url));

/** `examples/python`: the way in for Python, by `tritonclient` and a server on the device. */
export const pythonExamplePart: Part = {
  name: "python-example",
  async run(context) {
    if (!asked(context, "infer.py")) return;
    const tools = await tritonClient();
    const server = await startOwn({
      repository: at("samples/repository"),
      args: ["--tier", "device", "--data-class", "internal", "--at", "http://127.0.0.1:1"],
    });
    try {
      const { code, out, err } = await run(tools.python, [at("examples/python/infer.py"), server.http], {
        timeoutMs: 300_000,
      });
      const passed = code === 0 && /^score [0-9.]+, ran at /.test(out);
      context.told({
        name: "infer.py",
        outcome: passed ? "passed" : "failed",
        detail: passed ? out.trim() : lastWords(out, err),
      });
    } finally {
      await server.close();
    }
  },
};
