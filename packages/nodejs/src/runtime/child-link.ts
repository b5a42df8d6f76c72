import { type Clock, LongshoreError } from "@longshore/core";
import { type ChildProcess, type Serializable, spawn } from "node:child_process";
import type { Socket } from "node:net";
import { fileURLToPath } from "node:url";
import { joinPieces, sendInPieces } from "./in-pieces.ts";
import { watchMemory } from "./memory-watch.ts";
import type { OpenLink } from "./runner-link.ts";
import type { FromRunner } from "./runner-message.ts";
import { telemetrySetting, telemetryVariable } from "./telemetry-off.ts";

/** How sandbox processes are started. */
export interface ChildLinkOptions {
  readonly url: URL;
  /** Private memory of the process; Infinity for no cap. */
  readonly memoryBytes: number;
  /** Most bytes of memory in one of its answers. */
  readonly maxOutputBytes: number;
  /** Path of a POSIX shell that sets kernel limits before Node.js starts; undefined for no kernel limits. */
  readonly shell: string | undefined;
  readonly clock: Clock;
  /** Further environment variables that are passed to the process. */
  readonly keptVariables: readonly string[];
}

/** Interval of memory checks during a run, in milliseconds. */
const watchEveryMs = 20;
/** Characters of stderr that are kept. */
const lastWordsLength = 4096;
/** Heap of JavaScript in the sandbox: text elements need it, numbers do not. */
const heapMegabytes = 256;
const outOfMemory = /out of memory|OUT_OF_MEMORY|bad_alloc|allocation failed|cannot allocate/i;

/** Forbids core dumps and file writes, and limits private memory. Then the program replaces the shell. */
const limitScript = 'ulimit -c 0; ulimit -f 0; ulimit -d "$1" || exit 71; shift; exec "$@"';

/** Only the variables of a dynamic linker, Node.js and drivers, and the telemetry switch: secrets of the environment are not passed on. */
function sandboxEnvironment(variables: readonly string[]): NodeJS.ProcessEnv {
  const kept: NodeJS.ProcessEnv = { [telemetryVariable]: telemetrySetting() };
  for (const name of ["PATH", "LD_LIBRARY_PATH", "LANG", "TZ", "SystemRoot", ...variables]) {
    const value = process.env[name];
    if (value !== undefined) kept[name] = value;
  }
  return kept;
}

function start({ url, memoryBytes, shell, keptVariables }: ChildLinkOptions): ChildProcess {
  const program = [process.execPath, `--max-old-space-size=${heapMegabytes}`, fileURLToPath(url)];
  const kilobytes = Math.floor(memoryBytes / 1024);
  const command =
    shell !== undefined && Number.isFinite(memoryBytes)
      ? [shell, "-c", limitScript, "sandbox", String(kilobytes), ...program]
      : program;
  const [file = process.execPath, ...args] = command;
  return spawn(file, args, {
    stdio: ["ignore", "ignore", "pipe", "ipc"],
    serialization: "advanced",
    env: sandboxEnvironment(keptVariables),
    windowsHide: true,
  });
}

/**
 * Runners as processes, which can be killed at any moment and whose memory is capped. A crash of native code ends the process and not the
 * program.
 */
export function childLink(options: ChildLinkOptions): OpenLink {
  const { memoryBytes, clock } = options;
  return (events) => {
    const child = start(options);
    // A pipe's stream is a socket; only a socket can be set not to keep the program alive.
    const stderr = child.stderr as Socket | null;
    let lastWords = "";
    let over = false;
    let watch: Disposable | undefined;
    const gone = new Promise<void>((resolve) => {
      child.once("close", () => resolve());
      child.once("error", () => resolve());
    });
    const end = (why: LongshoreError): void => {
      if (over) return;
      over = true;
      watch?.[Symbol.dispose]();
      events.ended(why);
    };
    const tooMuch = (): LongshoreError =>
      new LongshoreError(
        "memory-limit",
        "execute",
        `the model needs more than the limit of ${memoryBytes} bytes of memory`,
      );
    const kill = (why: LongshoreError): void => {
      child.kill("SIGKILL");
      end(why);
    };

    stderr?.setEncoding("utf8");
    stderr?.on("data", (text: string) => {
      lastWords = (lastWords + text).slice(-lastWordsLength);
    });
    const take = joinPieces(options.maxOutputBytes, (message) => {
      watch?.[Symbol.dispose]();
      // Users of the message check its fields.
      events.received(message as FromRunner);
    });
    child.on("message", (part) => {
      if (over) return;
      try {
        take(part);
      } catch (thrown) {
        const told = "the sandbox process sent something that cannot be read, or more than it may";
        kill(new LongshoreError("bad-reply", "execute", told, { cause: thrown }));
      }
    });
    child.on("error", (thrown) => {
      end(
        new LongshoreError("runtime-crashed", "execute", "the sandbox process could not be started", {
          cause: thrown,
        }),
      );
    });
    child.on("close", (code, signal) => {
      const cause = new Error(`${signal ?? `exit code ${code}`}: ${lastWords.trim()}`);
      end(
        outOfMemory.test(lastWords)
          ? tooMuch()
          : new LongshoreError(
              "runtime-crashed",
              "execute",
              `the model's process ended without an answer (${signal ?? `exit code ${code}`})`,
              { cause },
            ),
      );
    });

    const hold = (held: boolean): void => {
      if (held) {
        child.ref();
        child.channel?.ref();
        stderr?.ref();
      } else {
        child.unref();
        child.channel?.unref();
        stderr?.unref();
      }
    };
    hold(false);
    return {
      moves: false,
      send(message) {
        const { pid } = child;
        if (pid !== undefined && Number.isFinite(memoryBytes)) {
          watch?.[Symbol.dispose]();
          watch = watchMemory({
            pid,
            limitBytes: memoryBytes,
            everyMs: watchEveryMs,
            clock,
            over: () => kill(tooMuch()),
          });
        }
        // `close` reports a process that is gone; a failed write needs no report of its own.
        sendInPieces(message, (part, written) => child.send(part as Serializable, written)).catch(
          (thrown: unknown) => kill(LongshoreError.from(thrown, "execute", "writing to the sandbox process")),
        );
      },
      hold,
      kill,
      async end() {
        over = true;
        watch?.[Symbol.dispose]();
        hold(true);
        child.kill("SIGKILL");
        await gone;
      },
    };
  };
}
