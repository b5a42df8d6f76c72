import type { ReadStream, WriteStream } from "node:tty";
import type { Terminal } from "../options/io.ts";

/** The terminal of this process. Keys come only if standard input is one, too. */
export function terminalOf(
  out: WriteStream,
  input: Pick<ReadStream, "isTTY" | "setRawMode" | "on" | "off" | "pause" | "resume">,
): Terminal {
  return {
    size: () => ({ columns: out.columns, rows: out.rows }),
    write: (text) => void out.write(text),
    onKey(listener) {
      if (!input.isTTY) return { [Symbol.dispose]: () => undefined };
      // Several keys may come at once; sequences of arrows and the like mean nothing here.
      const take = (chunk: Buffer): void => {
        const text = chunk.toString();
        if (!text.startsWith("\u001b")) for (const key of text) listener(key);
      };
      input.setRawMode(true);
      input.on("data", take);
      input.resume();
      return {
        [Symbol.dispose]() {
          input.off("data", take);
          input.setRawMode(false);
          input.pause();
        },
      };
    },
    onResize(listener) {
      out.on("resize", listener);
      return { [Symbol.dispose]: () => void out.off("resize", listener) };
    },
  };
}
