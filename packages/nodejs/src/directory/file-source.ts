import { readFile } from "node:fs/promises";
import { basename } from "node:path";
import { type Clock, LongshoreError, type RecordSource } from "@longshore/core";
import { watchFiles } from "../file/index.ts";
import { parseDirectoryFile } from "./directory-file.ts";

/** A directory file, watched. */
export interface FileSourceOptions {
  readonly clock: Clock;
  /** How often the file is looked at, in milliseconds. Default 2,000. */
  readonly everyMs?: number;
}

/**
 * Records from a file. One that cannot be read, or makes no sense as a whole, leaves what was read before.
 *
 * @example
 * ```ts
 * import { fileSource, systemClock } from "@longshore/nodejs";
 *
 * const source = fileSource("endpoints.json", { clock: systemClock() });
 * console.log(source.name); // file endpoints.json
 * ```
 */
export function fileSource(path: string, { clock, everyMs = 2000 }: FileSourceOptions): RecordSource {
  const name = `file ${basename(path)}`;
  return {
    name,
    follow(sink) {
      let good = false;
      let stopped = false;
      const read = async (): Promise<void> => {
        try {
          const { records } = parseDirectoryFile(await readFile(path, "utf8"), name);
          good = true;
          if (!stopped) sink.all(records);
        } catch (thrown) {
          good = false;
          const code =
            thrown instanceof Error && "code" in thrown && !LongshoreError.is(thrown)
              ? String(thrown.code)
              : undefined;
          const error =
            code === undefined
              ? LongshoreError.from(thrown, "resolve", `reading ${name}`)
              : new LongshoreError("invalid-configuration", "resolve", `${name} cannot be read: ${code}`, {
                  cause: thrown,
                });
          if (!stopped) sink.failed(error);
        }
      };
      const watching = (async () => {
        // The watch starts first, so that a change during the read is noticed.
        const watch = await watchFiles(
          () => [path],
          clock,
          read,
          everyMs,
          () => {
            if (stopped) return;
            if (good) sink.confirmed();
            else void read();
          },
        );
        await read();
        return watch;
      })();
      return {
        async [Symbol.asyncDispose]() {
          stopped = true;
          (await watching)[Symbol.dispose]();
        },
      };
    },
  };
}
