import { PassThrough } from "node:stream";
import { expect, it } from "vitest";
import { allWritten, runningLines } from "./output.ts";

/** A pipe that holds next to nothing itself. */
const pipe = (): PassThrough => new PassThrough({ writableHighWaterMark: 1, readableHighWaterMark: 1 });

it("leaves out the lines of a server that are not read, reports how many, and goes on when they are read", async () => {
  const stream = pipe();
  const line = runningLines(stream);
  const kilobyte = "x".repeat(1023);
  for (let index = 0; index < 10_000; index++) line(kilobyte);
  expect(stream.writableLength).toBeLessThan(5 * 2 ** 20);
  let read = "";
  stream.setEncoding("utf8").on("data", (chunk: string) => (read += chunk));
  await allWritten(stream);
  line("goes on");
  await allWritten(stream);
  const lines = read.trimEnd().split("\n");
  const { linesLeftOut } = JSON.parse(lines.at(-2) ?? "") as { readonly linesLeftOut: number };
  expect(lines.at(-1)).toBe("goes on");
  expect(lines.length - 2 + linesLeftOut).toBe(10_000);
});

it("waits for no reader that has left", async () => {
  const stream = pipe();
  stream.on("error", () => undefined);
  stream.write("a");
  stream.write("b");
  const written = allWritten(stream);
  stream.destroy();
  await written;
  await allWritten(stream);
});
