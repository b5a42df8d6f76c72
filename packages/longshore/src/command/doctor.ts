import { createServer } from "node:net";
import {
  type EndpointInfo,
  LongshoreError,
  silentObserver,
  tensorsOf,
  float32Tensor,
  float32View,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import type { Runtime } from "@longshore/engine";
import { graphBuilder, writeModel } from "@longshore/graph";
import { deviceFacts, onnxRuntime, sha256, systemClock, systemRandom, wasmRuntime } from "@longshore/nodejs";
import { dial, type DialOptions, serverInfo } from "../compose/dial.ts";
import { diallingIn } from "../compose/directory.ts";
import { platformTransforms } from "../compose/transforms.ts";
import { sampleRepository } from "../compose/samples.ts";
import { type AtOptions, serversOf } from "../options/at-options.ts";
import { type DirectoryCommandOptions, directoryOf } from "../options/directory-options.ts";
import { byteCount, type CommandIo, type ExitCode, table } from "../options/io.ts";
import { directoryLine } from "./print-result.ts";

/** Options of `longshore doctor`. */
export interface DoctorOptions extends DirectoryCommandOptions, AtOptions {
  readonly json: boolean;
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

/** Runs y = x + x, built here, so that nothing but the runtime is examined. */
async function tryRuntime(runtime: Runtime): Promise<string> {
  const call = housekeepingCall("doctor");
  const clock = systemClock();
  try {
    const build = graphBuilder();
    const x = build.input("x", "FP32", [1, 2]);
    build.output(build.node("Add", [x, x], { outputs: ["y"] }), "FP32", [1, 2]);
    const bytes = writeModel(build.model({ name: "doctor" }));
    const startedMs = clock.nowMs();
    const session = await runtime.load(
      {
        digest: await sha256(bytes),
        byteLength: bytes.byteLength,
        bytes: () => Promise.resolve(bytes.slice()),
      },
      {},
      call,
    );
    const outputs = await session.run(
      tensorsOf(float32Tensor("x", [1, 2], Float32Array.of(1, 2))),
      ["y"],
      call,
    );
    const y = outputs.get("y");
    await session.release();
    if (!y || float32View(y).join() !== "2,4")
      throw new LongshoreError("run-failed", "execute", "1 + 1 is not 2 here");
    return `loads and runs (${(clock.nowMs() - startedMs).toFixed(0)} ms for the first answer)`;
  } finally {
    await runtime.close();
  }
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

/** How many places a directory has, how old that is, and each of them. */
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

/** Examines what an inference here stands on, and says what to do about what is missing. */
export async function doctor(options: DoctorOptions, io: CommandIo): Promise<ExitCode> {
  const facts = await deviceFacts();
  const findings: Finding[] = [
    {
      what: "Node.js",
      ok: Number(process.versions.node.split(".")[0]) >= 20,
      detail: `${process.version} on ${facts.platform} ${facts.architecture} (20.19 or newer is needed)`,
    },
    {
      what: "machine",
      ok: true,
      detail: `${facts.cores} cores (${facts.processor ?? "name hidden"}), ${byteCount(facts.freeMemoryBytes)} free of ${byteCount(facts.totalMemoryBytes)}${facts.battery ? `, battery ${facts.battery.chargeRatio === undefined ? "" : `${(facts.battery.chargeRatio * 100).toFixed(0)} %`}${facts.battery.discharging ? " discharging" : ""}` : ", no battery"}`,
    },
    await look("onnxruntime", () => tryRuntime(onnxRuntime())),
    await look("wasm", () => tryRuntime(wasmRuntime())),
    await look("media", () =>
      Promise.resolve(
        `${["decode-image", "encode-image"].filter((name) => platformTransforms().has(name)).join(", ")} are there`,
      ),
    ),
    await look("network", freePort),
    await look(
      "samples",
      async () =>
        (await sampleRepository()) ??
        "not installed (npm install @longshore/samples); only the demo needs them",
    ),
  ];
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
