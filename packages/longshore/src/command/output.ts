/*
 * Pipes as standard output and error take bytes at their own pace: the rest lies in this process until the reader takes it. So
 * a command waits for it before it ends. A server writes for as long as it runs, so it leaves lines out while they are not
 * read.
 */

/** The part of a stream that this module needs. */
export interface Output {
  readonly destroyed: boolean;
  /** Bytes that wait. */
  readonly writableLength: number;
  write(text: string, done?: () => void): unknown;
  once(event: "close", listener: () => void): unknown;
}

/** Bytes of lines that may wait for a reader. */
const mostWaitingBytes = 4 * 2 ** 20;

/** Writes lines as they come. Those that come while more than 4 MiB wait are left out and counted, until half of it was read. */
export function runningLines(stream: Output): (line: string) => void {
  let leftOut = 0;
  return (line) => {
    const most = leftOut > 0 ? mostWaitingBytes / 2 : mostWaitingBytes;
    if (stream.writableLength > most) {
      leftOut++;
      return;
    }
    if (leftOut > 0) stream.write(`${JSON.stringify({ linesLeftOut: leftOut })}\n`);
    leftOut = 0;
    stream.write(`${line}\n`);
  };
}

/** Resolves when all is written, or the reader has gone. */
export function allWritten(stream: Output): Promise<void> {
  return new Promise((resolve) => {
    if (stream.destroyed || stream.writableLength === 0) return resolve();
    stream.once("close", resolve);
    stream.write("", () => resolve());
  });
}
