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
      { timeoutMs: 300_000 },
    );
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
