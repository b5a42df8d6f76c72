import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { LongshoreError } from "@longshore/core";
import type { Crowd, EndpointNews, EndpointOrder, EndpointSettings } from "./endpoint-messages.ts";

/** A server in a process of its own. */
export interface DemoEndpoint extends AsyncDisposable {
  readonly id: string;
  readonly settings: EndpointSettings;
  readonly port: number;
  readonly address: string;
  /** Sends a crowd there, or home. */
  crowd(crowd: Crowd | undefined): Promise<void>;
  /** Ends it as a power cut would (SIGKILL). */
  kill(): Promise<void>;
  /** Asks it to end; after two seconds it is made to. Idempotent. */
  close(): Promise<void>;
}

const startWithinMs = 60_000;
const stopWithinMs = 2_000;

/** Child processes run built files, also when this file runs from its source. */
function mainFile(): string {
  const here = import.meta.url;
  return fileURLToPath(
    new URL(here.endsWith(".ts") ? "../../dist/demo/endpoint-main.js" : "./endpoint-main.js", here),
  );
}

/** Starts a server in a child process and waits until it listens. */
export async function startEndpoint(settings: EndpointSettings, abort: AbortSignal): Promise<DemoEndpoint> {
  const child = fork(mainFile(), [], {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    serialization: "advanced",
  });
  const over = once(child, "exit").then(() => undefined);
  const order = (what: EndpointOrder): void => {
    if (child.connected) child.send(what, () => undefined);
  };
  const close = async (): Promise<void> => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    order({ kind: "stop" });
    const timer = setTimeout(() => child.kill("SIGKILL"), stopWithinMs);
    await over;
    clearTimeout(timer);
  };
  try {
    const ready = news(child, "ready", abort);
    order({ kind: "start", settings });
    const { address } = await ready;
    return {
      id: settings.id,
      settings,
      address,
      port: Number(new URL(address).port),
      async crowd(crowd) {
        const done = news(child, "crowded", abort);
        order({ kind: "crowd", crowd });
        await done;
      },
      async kill() {
        child.kill("SIGKILL");
        await over;
      },
      close,
      [Symbol.asyncDispose]: close,
    };
  } catch (error) {
    child.kill("SIGKILL");
    await over;
    throw error;
  }
}

/** The next news of a kind; rejects when the endpoint fails, ends, keeps silent or the call ends. */
function news<K extends EndpointNews["kind"]>(
  child: ChildProcess,
  kind: K,
  abort: AbortSignal,
): Promise<Extract<EndpointNews, { kind: K }>> {
  return new Promise((resolve, reject) => {
    const done = (): void => {
      clearTimeout(timer);
      child.off("message", heard);
      child.off("exit", ended);
      abort.removeEventListener("abort", stopped);
    };
    const fail = (message: string): void => {
      done();
      reject(new LongshoreError("unreachable", "resolve", message));
    };
    const heard = (one: EndpointNews): void => {
      if (one.kind === "failed") fail(`an endpoint of the demonstration did not start: ${one.message}`);
      if (one.kind !== kind) return;
      done();
      // The kind was compared the line before.
      resolve(one as Extract<EndpointNews, { kind: K }>);
    };
    const ended = (): void => fail("an endpoint of the demonstration ended before it answered");
    const stopped = (): void => fail("stopped while an endpoint of the demonstration was starting");
    const timer = setTimeout(() => fail("an endpoint of the demonstration did not answer"), startWithinMs);
    child.on("message", heard);
    child.once("exit", ended);
    if (abort.aborted) stopped();
    else abort.addEventListener("abort", stopped, { once: true });
  });
}
