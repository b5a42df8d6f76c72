import { type ChildProcess, spawn } from "node:child_process";
import { cpSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { float32Tensor, float32View, type Tensor } from "@longshore/core";
import { entryJson, sign } from "@longshore/core/internal";
import { newOperatorKey, operatorSigner } from "@longshore/nodejs";
import { testEntry } from "@longshore/testkit";
import { breakingRelay } from "../../test/breaking-relay.ts";
import { command } from "../../test/command.ts";
import { killAll, listening } from "../../test/processes.ts";
import { openOffloader } from "../compose/open-offloader.ts";
import { installedSamples } from "../engine/samples.ts";

/** A real nats-server; `npm run conformance -- nats` installs one and says where. */
const program = process.env["LONGSHORE_NATS_SERVER"] ?? "";
const running = new Set<ChildProcess>();
const folders: string[] = [];
afterEach(() => {
  killAll();
  for (const one of running) one.kill("SIGKILL");
  running.clear();
  for (const one of folders.splice(0)) rmSync(one, { recursive: true, force: true });
});

function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), "longshore-nats-fleet-"));
  folders.push(folder);
  return folder;
}

/** Starts one with JetStream in a domain of its own. */
async function natsServer(domain: string, more: string): Promise<{ port: string; leafPort: string }> {
  const folder = newFolder();
  const file = join(folder, "nats.conf");
  const lines = [`server_name: ${domain}`, 'listen: "127.0.0.1:-1"'];
  writeFileSync(file, [...lines, `jetstream { store_dir: "${folder}", domain: ${domain} }`, more].join("\n"));
  const child = spawn(program, ["-c", file]);
  running.add(child);
  let said = "";
  child.stderr.on("data", (chunk: Buffer) => void (said += chunk.toString()));
  await vi.waitFor(() => expect(said).toContain("Server is ready"), 60_000);
  const portOf = (kind: string): string =>
    new RegExp(`${kind} connections on 127.0.0.1:(\\d+)`).exec(said)?.[1] ?? "";
  return { port: portOf("client"), leafPort: portOf("leafnode") };
}

const soon = { timeout: 60_000, interval: 100 };

describe.skipIf(!existsSync(program))("a fleet that knows nothing but a real nats-server", () => {
  it(
    "a server at a leaf node joins, gets its model by digest over a link that is cut meanwhile, and answers clients of a gateway at the hub",
    { timeout: 240_000 },
    async () => {
      const folder = newFolder();
      const file = (name: string): string => join(folder, name);
      const key = newOperatorKey();
      writeFileSync(file("operator.pem"), key.privatePem);
      writeFileSync(file("operator.pub"), key.publicLine);
      writeFileSync(file("stranger.pub"), newOperatorKey().publicLine);
      cpSync(join((await installedSamples())!, "anomaly"), file("models/anomaly"), { recursive: true });
      const made = await command("package", "sign", file("models/anomaly"), "--key", file("operator.pem"));
      const digest = made.out.trim().split("\n").at(-1) ?? "";
      expect(digest).toMatch(/^sha256:/);

      const hub = await natsServer("hub", 'leafnodes { listen: "127.0.0.1:-1" }');
      const remote = `nats-leaf://127.0.0.1:${hub.leafPort}`;
      const edge = await natsServer("edge", `leafnodes { remotes: [{ url: "${remote}" }] }`);
      const [atHub, atEdge] = [`nats:127.0.0.1:${hub.port}`, `nats:127.0.0.1:${edge.port}`];
      const keys = ["--operator-keys", file("operator.pub")];
      const done = async (...args: readonly string[]): Promise<void> =>
        expect(await command(...args)).toMatchObject({ code: 0 });
      await done("package", "publish", file("models/anomaly"), "--to", atHub, ...keys);

      // The operator's statement about the endpoint lies in the bucket; the server brings only its name.
      const { address: _joins, ...body } = testEntry({ id: "till", packages: [digest] });
      const signed = {
        ...(await sign("directory entry", entryJson(body), operatorSigner(key.privatePem))),
        body: entryJson(body),
      };
      writeFileSync(file("endpoints.json"), JSON.stringify({ schemaVersion: 1, entries: [signed] }));
      await done("directory", "publish", file("endpoints.json"), "--to", atHub, ...keys);
      // The leaf connection takes a moment.
      const mirrored = (what: string) => () => done(what, "mirror", "--to", atEdge, "--domain", "hub");
      await vi.waitFor(mirrored("directory"), soon);
      await vi.waitFor(mirrored("package"), soon);

      const model = readFileSync(file("models/anomaly/1/model.onnx")).byteLength;
      await using link = await breakingRelay(Number(edge.port), Math.round(model / 2));
      const joins = [
        "--port",
        "0",
        "--id",
        "till",
        "--zone",
        "eu/de",
        "--join",
        `nats:127.0.0.1:${edge.port}`,
      ];
      const gets = [
        "--packages-from",
        `nats:127.0.0.1:${link.port}`,
        "--packages-into",
        file("till"),
        ...keys,
      ];
      const starting = listening("serve", newFolder(), ...joins, ...gets);
      await link.broke;
      await starting;
      link.mend();
      const found = ["--no-joins", "--directory", `nats:127.0.0.1:${hub.port}`, ...keys];
      const gate = await listening("gateway", "--port", "0", "--data-class", "public", ...found);

      const readings = float32Tensor("readings", [1, 32, 4096], new Float32Array(32 * 4096).fill(0.25));
      const asked = { dataClass: "public", minAgreementRatio: 1 } as const;
      const score = async (app: Awaited<ReturnType<typeof openOffloader>>): Promise<number> => {
        const { outputs } = await app.infer("anomaly", { readings }, asked);
        return float32View(outputs.get("score") as Tensor)[0] ?? NaN;
      };
      const own = await openOffloader({ repository: file("models") });
      const meant = await score(own);
      await own.close();
      const app = await openOffloader({ servers: [{ address: gate.address, trust: "operated" }] });
      await vi.waitFor(async () => expect(await score(app)).toBeCloseTo(meant, 4), soon);
      await app.close();
      // The bytes before the cut were not sent again, except for the chunks that were under way.
      expect(link.downBytes).toBeLessThan(1.35 * model);

      // A client that trusts another key does not take it.
      const other = ["--into", file("other"), "--operator-keys", file("stranger.pub")];
      const refused = await command(
        "package",
        "fetch",
        digest,
        "--from",
        `nats:127.0.0.1:${hub.port}`,
        ...other,
      );
      expect([refused.code, refused.notes]).toEqual([
        expect.not.stringMatching(/^0$/),
        expect.stringContaining("operator"),
      ]);

      const till = await starting;
      till.stop("SIGTERM");
      const metrics = async (): Promise<string> => (await fetch(`${gate.address}/metrics`)).text();
      await vi.waitFor(
        async () => expect(await metrics()).toMatch(/^longshore_directory_entries(\{.*\})? 0$/m),
        soon,
      );
    },
  );
});
