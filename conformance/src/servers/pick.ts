import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { run } from "../install/index.ts";
import { startEnvoyOn } from "./envoy.ts";
import { command } from "./longshore.ts";
import { freePort } from "./process.ts";
import type { RunningPeer } from "./served-model.ts";

/** `longshore pick` and an Envoy that uses it, with the configuration that it prints. */
export interface PickedEnvoy {
  /** `host:port` of Envoy. */
  readonly http: string;
  /** Process of the first picker. */
  readonly pickerPid: number;
  /** Ends the first picker without a word. */
  kill(): Promise<void>;
  close(): Promise<void>;
}

/** How they are started. */
export interface PickedEnvoyOptions {
  /** Of `longshore pick`, without its port. */
  readonly args: readonly string[];
  /** Of `--print-envoy` besides. */
  readonly envoyArgs?: readonly string[];
  /** Pickers beside each other. Default 1. */
  readonly pickers?: number;
  /** Of the command, besides those of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** An empty folder for the configuration. */
  readonly folder: string;
  /** Changes the printed configuration. Default: it is used as it was printed. */
  readonly edit?: (yaml: string) => string;
}

/** Starts both as the guide says. Throws `Unavailable` where Envoy cannot be had. */
export async function startPickedEnvoy({
  args,
  envoyArgs = [],
  pickers = 1,
  env = {},
  folder,
  edit = (yaml) => yaml,
}: PickedEnvoyOptions): Promise<PickedEnvoy> {
  const envoyPort = await freePort();
  const ports = await Promise.all(Array.from({ length: pickers }, freePort));
  const own = [command, "pick", ...args, "--port", `${ports[0]}`];
  const all = pickers > 1 ? ports.flatMap((port) => ["--picker", `127.0.0.1:${port}`]) : [];
  const printing = [...own, "--print-envoy", "--envoy-port", `${envoyPort}`, ...all, ...envoyArgs];
  const printed = await run(process.execPath, printing, { env });
  if (printed.code !== 0) throw new Error(`longshore pick --print-envoy: ${printed.err.slice(-500)}`);
  const file = join(folder, `envoy-${envoyPort}.yaml`);
  await writeFile(file, edit(printed.out));
  const started: StartedPicker[] = [];
  const end = (signal: NodeJS.Signals): Promise<unknown> =>
    Promise.all(started.map((one) => one.end(signal)));
  let envoy: RunningPeer;
  try {
    for (const port of ports) {
      const one = startPicker([command, "pick", ...args, "--port", `${port}`, "--json"], env);
      started.push(one);
      await one.listening;
    }
    envoy = await startEnvoyOn({ file, port: envoyPort });
  } catch (thrown) {
    await end("SIGKILL");
    throw thrown;
  }
  return {
    http: envoy.http,
    pickerPid: started[0]?.pid ?? 0,
    async kill() {
      await started[0]?.end("SIGKILL");
    },
    async close() {
      await envoy.close();
      await end("SIGTERM");
    },
  };
}

/** A command that says in JSON where it listens. */
export interface StartedPicker {
  readonly pid: number;
  /** Its first line. */
  readonly listening: Promise<unknown>;
  end(signal: NodeJS.Signals): Promise<void>;
}

/** Starts it. It ends with this program. */
export function startPicker(args: readonly string[], env: Readonly<Record<string, string>>): StartedPicker {
  const picker = spawn(process.execPath, args, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, ...env },
  });
  const gone = once(picker, "exit");
  const left = (): void => void picker.kill("SIGKILL");
  process.once("exit", left);
  void gone.then(() => process.off("exit", left));
  return {
    pid: picker.pid ?? 0,
    listening: Promise.race([
      once(createInterface({ input: picker.stdout }), "line"),
      gone.then(() => Promise.reject(new Error("longshore pick ended before it listened"))),
    ]),
    async end(signal) {
      picker.kill(signal);
      await gone;
    },
  };
}
