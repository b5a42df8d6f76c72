import { cp, mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { sampleRepository } from "@longshore/samples";
import { run, softwareGpu, Unavailable } from "../install/index.ts";
import { command, startOwn } from "../servers/index.ts";
import { eachSelected, inFolder, type Open, type Part } from "./part.ts";

/** Inputs of a check. */
interface Ground {
  readonly folder: string;
  readonly open: Open[];
  /** Names the software graphics driver. */
  readonly env: Readonly<Record<string, string>>;
}

interface Check {
  readonly name: string;
  /** Throws what is wrong; returns what is worth telling. */
  check(ground: Ground): Promise<string>;
}

const model = "language-scores";

async function repository({ folder }: Ground, name: string, configuration: string): Promise<string> {
  const root = join(folder, name);
  const own = join(root, model);
  await mkdir(own, { recursive: true });
  await cp(join(sampleRepository(), model, "1"), join(own, "1"), { recursive: true });
  await writeFile(join(own, "model.yaml"), configuration);
  return root;
}

/** Asks a server once, and returns which execution provider the account of the answer names. */
async function providerOf(http: string): Promise<string> {
  const described = (await (await fetch(`http://${http}/v2/models/${model}`)).json()) as {
    inputs: { name: string; datatype: string; shape: number[] }[];
  };
  const inputs = described.inputs.map(({ name, datatype, shape }) => {
    const sizes = shape.map((size) => (size === -1 ? 1 : size));
    const count = sizes.reduce((product, size) => product * size, 1);
    return { name, datatype, shape: sizes, data: Array.from({ length: count }, (_, at) => at % 2) };
  });
  const reply = await fetch(`http://${http}/v2/models/${model}/infer`, {
    method: "POST",
    headers: { "longshore-account": "full" },
    body: JSON.stringify({ inputs }),
  });
  const text = await reply.text();
  if (!reply.ok) throw new Error(`status ${reply.status}: ${text.slice(0, 200)}`);
  const metrics = await (await fetch(`http://${http}/metrics`)).text();
  const taken =
    /longshore_provider_loads_total\{[^}]*provider="([a-z]+)"[^}]*outcome="taken"[^}]*\} [1-9]/.exec(metrics);
  return taken?.[1] ?? "none";
}

/** Starts a server with some providers and says which one runs the model. */
async function served(
  ground: Ground,
  name: string,
  configuration: string,
  providers: string,
  args: readonly string[] = [],
): Promise<string> {
  const server = await startOwn({
    repository: await repository(ground, name, configuration),
    args: ["--providers", providers, ...args],
    env: ground.env,
  });
  ground.open.push(server);
  return providerOf(server.http);
}

/** A row of `longshore profile --each-provider --json`. */
interface Measured {
  readonly provider: string;
  readonly works: boolean;
  readonly agreementRatio: number | null;
  readonly p50Ms: number;
  readonly memoryBytes: number;
  readonly energy: object | null;
}

/** A graphics driver that ends its process as soon as it is loaded. Throws `Unavailable` without a C compiler. */
async function crashingDriver(folder: string): Promise<string> {
  const [source, library] = [join(folder, "crash.c"), join(folder, "libcrash.so")];
  await writeFile(
    source,
    "#include <stdlib.h>\n__attribute__((constructor)) static void crash(void) { abort(); }\n",
  );
  const { code } = await run("cc", ["-shared", "-fPIC", "-o", library, source]);
  if (code === 127) throw new Unavailable("planting a driver that crashes needs a C compiler (cc)");
  if (code !== 0) throw new Error(`cc ended with ${code}`);
  // Named as a driver of hardware would be: one in software is not tried before the processor.
  const manifest = join(folder, "crash_icd.json");
  const icd = { library_path: library, api_version: "1.1.0" };
  await writeFile(manifest, JSON.stringify({ file_format_version: "1.0.0", ICD: icd }));
  return manifest;
}

function expected(found: string, wanted: string): string {
  if (found !== wanted) throw new Error(`it runs on ${found}; ${wanted} is wanted`);
  return `runs on ${found}`;
}

const checks: readonly Check[] = [
  {
    name: "WebGPU on a software adapter runs a model with the processor's answers",
    check: async (ground) => expected(await served(ground, "gpu", "{}", "webgpu"), "webgpu"),
  },
  {
    name: "KIND_GPU takes WebGPU",
    check: async (ground) =>
      expected(await served(ground, "kind", "instances: [{ count: 1, kind: gpu }]", "webgpu,cpu"), "webgpu"),
  },
  {
    name: "a software adapter is not preferred to the processor",
    check: async (ground) => expected(await served(ground, "both", "{}", "webgpu,cpu"), "cpu"),
  },
  {
    name: "a provider without its library is passed over",
    check: async (ground) => expected(await served(ground, "cuda", "{}", "cuda,cpu"), "cpu"),
  },
  {
    name: "a driver that ends its process at load is passed over, by server, doctor and profile",
    async check(ground) {
      const env = { ...ground.env, VK_ICD_FILENAMES: await crashingDriver(ground.folder) };
      const crashing = { ...ground, env };
      const gpuElseCpu = "instances: [{ count: 1, kind: gpu }]";
      const found = await served(crashing, "crash", gpuElseCpu, "webgpu,cpu", ["--gpu-fallback"]);
      expected(found, "cpu");
      const doctor = await run(process.execPath, [command, "doctor"], { env });
      const line = doctor.out.split("\n").find((one) => one.includes("provider webgpu")) ?? "no line";
      if (!/not usable.*SIGABRT/.test(line)) throw new Error(line.trim());
      const folder = join(ground.folder, "crash", model);
      const args = [command, "profile", folder, "--each-provider", "--providers", "webgpu", "--json"];
      const { code, out } = await run(process.execPath, args, { env });
      if (code !== 1 || !/"provider":"webgpu","works":false,"problem":"[^"]*SIGABRT/.test(out))
        throw new Error(`profile ended with ${code}: ${out.slice(0, 300)}`);
      return line.replace(/\s+/g, " ").trim().slice(0, 120);
    },
  },
  {
    name: "profile compares each provider: answers, speed, memory, energy",
    async check(ground) {
      const folder = join(await repository(ground, "profile", "{}"), model);
      const args = [
        command,
        "profile",
        folder,
        "--each-provider",
        "--providers",
        "webgpu",
        "--runs",
        "2",
        "--json",
      ];
      const { code, out, err } = await run(process.execPath, args, { env: ground.env });
      if (code !== 0) throw new Error(`it ended with ${code}: ${out.slice(0, 300)} ${err.slice(-300)}`);
      const { providers } = JSON.parse(out) as { providers: Measured[] };
      for (const { provider, works, agreementRatio, memoryBytes, energy } of providers) {
        const isRight = works && (agreementRatio ?? 1) > 0.99 && memoryBytes > 0 && energy !== null;
        if (!isRight) throw new Error(`${provider}: ${out.slice(0, 600)}`);
      }
      return providers
        .map(
          ({ provider, p50Ms, memoryBytes }) =>
            `${provider} ${p50Ms.toFixed(1)} ms, ${(memoryBytes / 1e6).toFixed(0)} MB`,
        )
        .join("; ");
    },
  },
  {
    name: "doctor tells that the adapter is software",
    async check({ env }) {
      const { out } = await run(process.execPath, [command, "doctor"], { env });
      const line = out.split("\n").find((one) => one.includes("provider webgpu")) ?? "no line";
      if (!/loads and runs.*is software/.test(line)) throw new Error(line.trim());
      return line.replace(/\s+/g, " ").trim();
    },
  },
];

/** Execution providers besides the processor: WebGPU, which the native runtime holds, on a graphics driver in software. */
export const providersPart: Part = {
  name: "providers",
  async run(context) {
    const { env } = await softwareGpu();
    await inFolder("providers", async (folder, open) => {
      await eachSelected(context, checks, async ({ name, check }) => {
        try {
          context.told({ name, outcome: "passed", detail: await check({ folder, open, env }) });
        } catch (thrown) {
          if (thrown instanceof Unavailable) throw thrown;
          context.told({
            name,
            outcome: "failed",
            detail: thrown instanceof Error ? thrown.message : String(thrown),
          });
        }
      });
    });
  },
};
