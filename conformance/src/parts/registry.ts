import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { must, type Ended, registryServer, run } from "../install/index.ts";
import { writeRepository } from "../models.ts";
import { command, freePort, startOwn, startServerProcess } from "../servers/index.ts";
import { asked, inFolder, lastWords, type Open, type Part, type PartContext } from "./part.ts";

const longshore = (...args: readonly string[]): Promise<Ended> => run(process.execPath, [command, ...args]);
const model = "simple";
const values = Array.from({ length: 16 }, () => 1);
const body = JSON.stringify({
  inputs: ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data: values })),
});

async function startRegistry(program: string, folder: string, open: Open[]): Promise<number> {
  const port = await freePort();
  const config = join(folder, "registry.json");
  const storage = { filesystem: { rootdirectory: join(folder, "registry") } };
  await writeFile(
    config,
    JSON.stringify({ version: 0.1, log: { level: "error" }, storage, http: { addr: `127.0.0.1:${port}` } }),
  );
  const readyUrl = `http://127.0.0.1:${port}/v2/`;
  open.push(await startServerProcess({ command: program, args: ["serve", config], readyUrl }));
  return port;
}

function expectThat(holds: boolean, told: string): void {
  if (!holds) throw new Error(told);
}

async function check(context: PartContext, folder: string, open: Open[]): Promise<void> {
  const told = async (name: string, work: () => Promise<string>): Promise<void> => {
    const detail = await work().then(
      (text) => ({ outcome: "passed" as const, detail: text }),
      (thrown: unknown) => ({
        outcome: "failed" as const,
        detail: thrown instanceof Error ? thrown.message : String(thrown),
      }),
    );
    context.told({ name, ...detail });
  };
  const port = await startRegistry(await registryServer(), folder, open);
  const repository = join(folder, "models");
  await writeRepository(repository);
  const [key, keys] = [join(folder, "operator.pem"), join(folder, "operator.pub")];
  const { out: publicKey } = await longshore("directory", "key", key);
  await writeFile(keys, publicKey);
  const from = `oci:127.0.0.1:${port}/shop/models`;
  const folderOf = join(repository, model);
  const digest = (await must(process.execPath, [command, "package", "sign", folderOf, "--key", key])).trim();
  let pinned = "";
  await told("a signed model is published as an artifact", async () => {
    const { code, out, err } = await longshore(
      "package",
      "publish",
      folderOf,
      "--to",
      from,
      "--operator-keys",
      keys,
    );
    expectThat(code === 0, lastWords(err, out));
    pinned = out.trim();
    const headers = { accept: "application/vnd.oci.image.manifest.v1+json" };
    const reply = await fetch(`http://127.0.0.1:${port}/v2/shop/models/manifests/${model}`, { headers });
    const { artifactType, layers } = (await reply.json()) as {
      readonly artifactType: string;
      readonly layers: readonly unknown[];
    };
    const seen = `${from}@${reply.headers.get("docker-content-digest")}`;
    expectThat(seen === pinned, `the registry says ${seen}, and the command said ${pinned}`);
    return `${artifactType}, ${layers.length} layers`;
  });
  const fetchFrom = (source: string, name: string, into: string): Promise<Ended> =>
    longshore(
      "package",
      "fetch",
      name,
      "--from",
      source,
      "--into",
      join(folder, into),
      "--operator-keys",
      keys,
    );
  await told("it is fetched by name, by package digest and by artifact digest", async () => {
    for (const [source, name, into] of [
      [from, model, "by-name"],
      [from, digest, "by-digest"],
      [pinned, model, "pinned"],
    ] as const) {
      const { code, out, err } = await fetchFrom(source, name, into);
      expectThat(code === 0 && out.trim() === digest, `${source}: ${lastWords(err, out)}`);
    }
    return "";
  });
  await told("a server fetches and serves it", async () => {
    const none = join(folder, "none");
    await mkdir(none);
    const server = await startOwn({
      repository: none,
      args: [
        "--packages-from",
        pinned,
        "--packages-into",
        join(folder, "served"),
        "--package",
        digest,
        "--operator-keys",
        keys,
      ],
    });
    open.push(server);
    const reply = await fetch(`http://${server.http}/v2/models/${model}/infer`, { method: "POST", body });
    expectThat(reply.status === 200, `${reply.status}: ${(await reply.text()).slice(0, 200)}`);
    return "";
  });
  await told("a file that was changed in the registry is refused", async () => {
    const manifest = await fetch(`http://127.0.0.1:${port}/v2/shop/models/manifests/${model}`, {
      headers: { accept: "application/vnd.oci.image.manifest.v1+json" },
    });
    const { layers } = (await manifest.json()) as { readonly layers: readonly { readonly digest: string }[] };
    const hex = (layers[0]?.digest ?? "").replace("sha256:", "");
    const blobs = join(folder, "registry", "docker", "registry", "v2", "blobs", "sha256");
    const file = join(blobs, hex.slice(0, 2), hex, "data");
    const bytes = await readFile(file);
    bytes[0] = (bytes[0] ?? 0) ^ 1;
    await writeFile(file, bytes);
    const { code, err } = await fetchFrom(pinned, model, "changed");
    expectThat(code !== 0 && err.includes("bad-reply"), `it ended with ${code}: ${lastWords(err)}`);
    return lastWords(err);
  });
}

/** Packages of models in a real OCI registry. */
export const registryPart: Part = {
  name: "registry",
  async run(context) {
    if (!asked(context, "registry")) return;
    await inFolder("registry", (folder, open) => check(context, folder, open));
  },
};
