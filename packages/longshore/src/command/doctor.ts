import { constants, readFileSync } from "node:fs";
import { access, mkdtemp, rmdir, stat, statfs } from "node:fs/promises";
import { createServer } from "node:net";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type EndpointInfo, LongshoreError, silentObserver } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { Runtime } from "@longshore/engine";
import {
  addWasm,
  deviceFacts,
  hasWasm,
  onnxRuntime,
  slowProvider,
  systemClock,
  systemRandom,
  wasmRuntime,
} from "@longshore/nodejs";
import { dial, serverInfo } from "../connect/dial.ts";
import type { DialOptions } from "../connect/server-options.ts";
import { diallingIn } from "../connect/directory.ts";
import { platformTransforms } from "../engine/transforms.ts";
import { accelerators } from "../profile/each-provider.ts";
import { tryProvider, tryRuntime } from "../engine/try-runtime.ts";
import { installedSamples } from "../engine/samples.ts";
import { type AtOptions, serversOf } from "../options/at-options.ts";
import { type DirectoryCommandOptions, directoryOf } from "../options/directory-options.ts";
import { byteCount, type CommandIo, type ExitCode, table } from "../options/io.ts";
import { directoryLine } from "./print-result.ts";

/** Options of `longshore doctor`. */
export interface DoctorOptions extends DirectoryCommandOptions, AtOptions {
  readonly json: boolean;
  /** Folders of models, packages or data that a server here would use. */
  readonly folder: readonly string[];
}

interface Finding {
  readonly what: string;
  readonly ok: boolean;
  readonly detail: string;
}

async function look(what: string, examine: () => Promise<string>): Promise<Finding> {
  try {
    return { what, ok: true, detail: await examine() };
  } catch (error) {
    return { what, ok: false, detail: LongshoreError.from(error, "execute", what).message };
  }
}

/** Runs a runtime once and reports the time of its first answer. */
async function answers(runtime: Runtime): Promise<string> {
  return answered(await tryRuntime(runtime));
}

function answered(tookMs: number): string {
  return `loads and runs (${tookMs.toFixed(0)} ms for the first answer)`;
}

/** Whether an accelerator can be used. None is needed, so this is never a fault. */
async function lookAtProvider(name: string): Promise<Finding> {
  const what = `provider ${name}`;
  try {
    const slow = slowProvider(name);
    const note = slow === undefined ? "" : `; ${slow}`;
    const detail = `${answered(await tryProvider(name))}, with the processor's answers${note}`;
    return { what, ok: true, detail };
  } catch (thrown) {
    const { message } = LongshoreError.from(thrown, "execute", what);
    return { what, ok: true, detail: `optional, and not usable: ${message.slice(0, 160)}` };
  }
}

/** Installed versions of the packages that do the work, found as this command finds them. */
function versions(): string {
  const require = createRequire(import.meta.url);
  const parent = createRequire(require.resolve("@longshore/nodejs"));
  const read = (name: string): string => {
    try {
      // Its manifest lies above its entry point, and need not be exported.
      const entry = parent.resolve(name);
      const folder = join("node_modules", name);
      const manifest = join(entry.slice(0, entry.lastIndexOf(folder)), folder, "package.json");
      return `${name} ${(JSON.parse(readFileSync(manifest, "utf8")) as { readonly version: string }).version}`;
    } catch {
      return `${name} (version unknown)`;
    }
  };
  return ["onnxruntime-node", "sharp", "undici"].map(read).join(", ");
}

async function tryWasm(): Promise<string> {
  return hasWasm() ? answers(wasmRuntime()) : `optional, and not there: ${addWasm}`;
}

/** Whether temporary files can be made. */
async function tryTemporary(): Promise<string> {
  await rmdir(await mkdtemp(join(tmpdir(), "longshore-doctor-")));
  return "files can be made in it";
}

/** Whether a folder can be used, by whom, and its free space. */
async function tryFolder(folder: string): Promise<string> {
  const allowed = (mode: number): Promise<boolean> =>
    access(folder, mode).then(
      () => true,
      () => false,
    );
  const found = await stat(folder).catch((thrown: NodeJS.ErrnoException) => {
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      thrown.code === "ENOENT"
        ? "there is no such folder; make it, or name another"
        : `it cannot be looked at (${thrown.code ?? "no reason given"})`,
    );
  });
  const fault = (why: string): LongshoreError => new LongshoreError("invalid-configuration", "resolve", why);
  if (!found.isDirectory()) throw fault("it is a file; a folder is needed");
  if (!(await allowed(constants.R_OK | constants.X_OK))) {
    throw fault("this user cannot read it; give read and search permission (chmod u+rx)");
  }
  const { bavail, bsize } = await statfs(folder);
  const writing = (await allowed(constants.W_OK))
    ? "readable and writable"
    : "readable, not writable (enough for models, not for a cache of packages)";
  return `${writing}, mode ${(found.mode & 0o777).toString(8)}, ${byteCount(bavail * bsize)} free`;
}

function freePort(): Promise<string> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      server.close(() => resolve("a port on 127.0.0.1 can be opened"));
    });
  });
}

async function tryEndpoint(info: EndpointInfo, options: DialOptions): Promise<string> {
  const clock = systemClock();
  const parts = { clock, random: systemRandom(), observer: silentObserver };
  const endpoint = dial(info, parts, options);
  try {
    const startedMs = clock.nowMs();
    await endpoint.describe("doctor-probe", undefined, {
      ...housekeepingCall("doctor"),
      deadlineMs: clock.nowMs() + 3000,
    });
    return `answers in ${(clock.nowMs() - startedMs).toFixed(1)} ms`;
  } finally {
    await endpoint.close();
  }
}

/** The number of endpoints in a directory, its age, and each of them. */
async function tryDirectory(options: DirectoryCommandOptions): Promise<readonly Finding[]> {
  const found = await directoryOf(options);
  if (!found) return [];
  await using directory = found.directory;
  const { entries, ...age } = directory.snapshot();
  const detail = `${entries.length} endpoints; ${directoryLine(age)}`;
  const shown = diallingIn(directory, found.dialling);
  const endpoints = entries.map((info) => look(info.id, () => tryEndpoint(info, shown(info))));
  return [
    { what: "directory", ok: age.problem === undefined && age.refused === undefined, detail },
    ...(await Promise.all(endpoints)),
  ];
}

function isNewEnough(version: string): boolean {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  return major > 20 || (major === 20 && minor >= 19);
}

/** Checks the requirements of an inference here, and says how to add what is missing. */
export async function doctor(options: DoctorOptions, io: CommandIo): Promise<ExitCode> {
  const facts = await deviceFacts();
  const findings: Finding[] = [
    {
      what: "Node.js",
      ok: isNewEnough(process.versions.node),
      detail: `${process.version} on ${facts.platform} ${facts.architecture} (20.19 or newer is needed)`,
    },
    {
      what: "machine",
      ok: true,
      detail: `${facts.cores} cores (${facts.processor ?? "name hidden"}), ${byteCount(facts.freeMemoryBytes)} free of ${byteCount(facts.totalMemoryBytes)}${facts.battery ? `, battery ${facts.battery.chargeRatio === undefined ? "" : `${(facts.battery.chargeRatio * 100).toFixed(0)} %`}${facts.battery.discharging ? " discharging" : ""}` : ", no battery"}`,
    },
    await look("onnxruntime", () => answers(onnxRuntime())),
    ...(await Promise.all((accelerators[process.platform] ?? []).map(lookAtProvider))),
    await look("wasm", tryWasm),
    await look("versions", () => Promise.resolve(versions())),
    await look("media", () =>
      Promise.resolve(
        `${["decode-image", "encode-image"].filter((name) => platformTransforms().has(name)).join(", ")} are there`,
      ),
    ),
    await look("network", freePort),
    await look("temporary folder", tryTemporary),
    await look(
      "samples",
      async () =>
        (await installedSamples()) ??
        "not installed (npm install @longshore/samples); only the demo needs them",
    ),
  ];
  for (const folder of options.folder) findings.push(await look(folder, () => tryFolder(folder)));
  for (const server of await serversOf(options)) {
    findings.push(await look(server.address, () => tryEndpoint(serverInfo(server), server)));
  }
  findings.push(...(await tryDirectory(options)));
  if (options.json) io.out(JSON.stringify({ findings }));
  else
    io.out(
      table(
        ["", "what", "found"],
        findings.map((one) => [one.ok ? "ok" : "NO", one.what, one.detail]),
      ),
    );
  return findings.every((one) => one.ok) ? 0 : 1;
}
