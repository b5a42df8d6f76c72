import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { writeModels } from "@longshore/testkit";
import { killAll, listening } from "../../test/processes.ts";

let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-operate-"));
});
afterEach(async () => {
  killAll();
  vi.unstubAllEnvs();
  await rm(folder, { recursive: true, force: true });
});

const soon = { timeout: 60_000, interval: 100 };

async function statuses(address: string): Promise<readonly number[]> {
  const paths = ["/healthz", "/livez", "/readyz", "/v2/health/ready"];
  return Promise.all(paths.map(async (path) => (await fetch(`${address}${path}`)).status));
}

/** Throws for a line that is not a JSON object. */
function parsed(lines: readonly string[]): readonly object[] {
  return lines.map((line) => JSON.parse(line) as object);
}

it("a gateway is live and not ready until a server is there, and its log has only JSON lines", async () => {
  const torn = join(folder, "beliefs.json");
  await writeFile(torn, "torn");
  await writeModels(join(folder, "models"));
  const server = await listening("serve", join(folder, "models"), "--port", "0");
  const port = new URL(server.address).port;
  server.stop();
  await server.exited;
  const at = ["--at", `http://127.0.0.1:${port}`, "--data-class", "public", "--beliefs", torn];
  const gate = await listening("gateway", "--port", "0", "--host", "127.0.0.1", "--log-level", "info", ...at);
  expect(await statuses(gate.address)).toEqual([200, 200, 503, 503]);
  expect((await fetch(`${gate.address}/v2/models/nope/infer`, { method: "POST", body: "{}" })).ok).toBe(
    false,
  );
  await listening("serve", join(folder, "models"), "--port", port);
  await vi.waitFor(async () => expect(await statuses(gate.address)).toEqual([200, 200, 200, 200]), soon);
  gate.stop();
  expect(await gate.exited).toBe(0);
  const lines = parsed(gate.notes);
  expect(lines).toContainEqual(
    expect.objectContaining({ message: expect.stringContaining("beliefs.json") as string }),
  );
  for (const line of lines) expect(line).toMatchObject({ time: expect.any(String) as string });
});

it("traces name the service and the resource of the environment", async () => {
  const traces: string[] = [];
  const collector = createServer((request, response) => {
    request.on("data", (chunk: Buffer) => traces.push(chunk.toString("utf8")));
    request.on("end", () => response.end("{}"));
  }).listen(0, "127.0.0.1");
  await once(collector, "listening");
  const { port } = collector.address() as { port: number };
  vi.stubEnv("OTEL_SERVICE_NAME", "till");
  vi.stubEnv("OTEL_RESOURCE_ATTRIBUTES", "service.name=other,deployment.environment=shop%20floor");
  await writeModels(join(folder, "models"));
  const tracing = ["--otlp", `http://127.0.0.1:${port}`, "--trace-rate", "1"];
  const { address } = await listening("serve", join(folder, "models"), "--port", "0", ...tracing);
  const data = Array.from({ length: 16 }, (_, index) => index);
  const inputs = ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data }));
  await fetch(`${address}/v2/models/simple/infer`, { method: "POST", body: JSON.stringify({ inputs }) });
  await vi.waitFor(() => expect(traces.join("")).toContain('"stringValue":"till"'), soon);
  expect(traces.join("")).toContain('"stringValue":"shop floor"');
  expect(traces.join("")).not.toContain('"stringValue":"other"');
  collector.close();
});
