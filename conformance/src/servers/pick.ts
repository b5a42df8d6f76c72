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
  /** Process of the picker. */
  readonly pickerPid: number;
  /** Ends the picker without a word. */
  kill(): Promise<void>;
  close(): Promise<void>;
}

/** How they are started. */
export interface PickedEnvoyOptions {
  /** Of `longshore pick`, without its port. */
  readonly args: readonly string[];
  /** Of `--print-envoy` besides. */
  readonly envoyArgs?: readonly string[];
  /** An empty folder for the configuration. */
  readonly folder: string;
  /** Changes the printed configuration. Default: it is used as it was printed. */
  readonly edit?: (yaml: string) => string;
}

/** Starts both as the guide says. Throws `Unavailable` where Envoy cannot be had. */
export async function startPickedEnvoy({
  args,
  envoyArgs = [],
  folder,
  edit = (yaml) => yaml,
}: PickedEnvoyOptions): Promise<PickedEnvoy> {
  const [port, envoyPort] = [await freePort(), await freePort()];
  const own = [command, "pick", ...args, "--port", `${port}`];
  const printing = [...own, "--print-envoy", "--envoy-port", `${envoyPort}`, ...envoyArgs];
  const printed = await run(process.execPath, printing);
  if (printed.code !== 0) throw new Error(`longshore pick --print-envoy: ${printed.err.slice(-500)}`);
  const file = join(folder, `envoy-${envoyPort}.yaml`);
  await writeFile(file, edit(printed.out));
  const picker = spawn(process.execPath, [...own, "--json"], { stdio: ["ignore", "pipe", "inherit"] });
  const gone = once(picker, "exit");
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    picker.kill(signal);
    await gone;
  };
  const left = (): void => void picker.kill("SIGKILL");
  process.once("exit", left);
  void gone.then(() => process.off("exit", left));
  let envoy: RunningPeer;
  try {
    const lines = createInterface({ input: picker.stdout });
    await Promise.race([
      once(lines, "line"),
      gone.then(() => Promise.reject(new Error("longshore pick ended before it listened"))),
    ]);
    envoy = await startEnvoyOn({ file, port: envoyPort });
  } catch (thrown) {
    await end("SIGKILL");
    throw thrown;
  }
  return {
    http: envoy.http,
    pickerPid: picker.pid ?? 0,
    kill: () => end("SIGKILL"),
    async close() {
      await envoy.close();
      await end("SIGTERM");
    },
  };
}
