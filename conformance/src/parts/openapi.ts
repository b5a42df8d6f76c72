import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { run, schemathesis } from "../install/index.ts";
import { asked, lastWords, type Part } from "./part.ts";

/** The checks on every answer. */
const checks = [
  "not_a_server_error",
  "status_code_conformance",
  "content_type_conformance",
  "response_schema_conformance",
  "negative_data_rejection",
];

/** A model that is there, so that more is met than refusals; loading and unloading must leave it there. */
const parameters = `[parameters]
"path.model" = "simple"
"path.version" = "1"
"path.variant" = "default"

${["unload", "load"]
  .map(
    (what) => `[[operations]]
include-path = "/v2/repository/models/{model}/${what}"
parameters = { "path.model" = "absent" }
`,
  )
  .join("\n")}`;

/** Which operations failed what. */
function failures(out: string): string {
  const found = out
    .split("\n")
    .flatMap((line) => /^_+ ([A-Z]+ \/.*?) _+$/.exec(line)?.[1] ?? /^- ST\d+ (.+)$/.exec(line)?.[1] ?? []);
  return found.join("; ").slice(0, 300);
}

/**
 * Fuzzes every path of the OpenAPI document that the server serves. No answer may be a server error or differ from the
 * document, and no input may be taken that it does not allow.
 */
export const openapiPart: Part = {
  name: "openapi",
  async run(context) {
    const name = "schemathesis, no server error, and answers as documented";
    if (!asked(context, name)) return;
    const tools = await schemathesis();
    const base = `http://${context.server.http}`;
    // It leaves a folder of its own where it is started.
    const cwd = await mkdtemp(join(tmpdir(), "longshore-openapi-"));
    const configuration = join(cwd, "parameters.toml");
    await writeFile(configuration, parameters);
    const { code, out, err } = await run(
      tools.program("st"),
      [
        "--config-file",
        configuration,
        "run",
        `${base}/v2/openapi.json`,
        "--url",
        base,
        "--checks",
        checks.join(","),
        "--max-examples",
        "20",
        "--seed",
        "1",
        "--workers",
        "1",
        "--request-timeout",
        "120",
        "--no-color",
        "--generation-database",
        "none",
      ],
      { cwd, timeoutMs: 1_200_000 },
    );
    await rm(cwd, { recursive: true, force: true });
    const cases = /([0-9]+) generated/.exec(out)?.[1];
    context.told({
      name,
      outcome: code === 0 ? "passed" : "failed",
      detail: code === 0 ? `${cases ?? "?"} requests` : failures(out) || lastWords(out, err),
    });
    const alive = await run("curl", ["-sSf", "-m", "120", `${base}/v2/health/live`]);
    context.told({
      name: "the server lives on",
      outcome: alive.code === 0 ? "passed" : "failed",
      detail: alive.err.trim(),
    });
  },
};
