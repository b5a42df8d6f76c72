import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { run, schemathesis } from "../install/index.ts";
import { asked, lastWords, type Part } from "./part.ts";

/** Fuzzes every path of the OpenAPI document that the server serves. No answer may be a server error. */
export const openapiPart: Part = {
  name: "openapi",
  async run(context) {
    const name = "schemathesis, no server error";
    if (!asked(context, name)) return;
    const tools = await schemathesis();
    const base = `http://${context.server.http}`;
    // It leaves a folder of its own where it is started.
    const cwd = await mkdtemp(join(tmpdir(), "longshore-openapi-"));
    const { code, out, err } = await run(
      tools.program("st"),
      [
        "run",
        `${base}/v2/openapi.json`,
        "--url",
        base,
        "--checks",
        "not_a_server_error",
        "--max-examples",
        "30",
        "--seed",
        "1",
        "--workers",
        "1",
        "--request-timeout",
        "20",
        "--no-color",
        "--generation-database",
        "none",
      ],
      { cwd, timeoutMs: 300_000 },
    );
    await rm(cwd, { recursive: true, force: true });
    const cases = /([0-9]+) generated/.exec(out)?.[1];
    context.told({
      name,
      outcome: code === 0 ? "passed" : "failed",
      detail: code === 0 ? `${cases ?? "?"} requests` : lastWords(out, err),
    });
    const alive = await run("curl", ["-sSf", "-m", "10", `${base}/v2/health/live`]);
    context.told({
      name: "the server lives on",
      outcome: alive.code === 0 ? "passed" : "failed",
      detail: alive.err.trim(),
    });
  },
};
