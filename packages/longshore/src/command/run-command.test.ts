import { Command } from "commander";
import { expect, it, vi } from "vitest";
import type { CommandIo } from "../options/io.ts";
import { groups, runCommand } from "./run-command.ts";

function listening(): { readonly said: string[]; readonly io: CommandIo } {
  const said: string[] = [];
  const say = (text: string): void => void said.push(text);
  const stop = new AbortController().signal;
  return { said, io: { out: say, note: say, progress: () => undefined, environment: {}, stop } };
}

it.each(groups)("a group that is loaded for $commands defines these", async ({ commands, load }) => {
  const program = new Command();
  const { io } = listening();
  (await load())({ program, io, action: () => async () => undefined });
  expect(program.commands.map((command) => command.name())).toEqual(commands);
});

it("help lists the commands of all groups, and an unknown command is refused", async () => {
  const help = listening();
  expect(await runCommand(["--help"], help.io)).toBe(0);
  for (const { commands } of groups) {
    for (const name of commands) expect(help.said.join("\n")).toMatch(new RegExp(`^ {2}${name} `, "m"));
  }
  const unknown = listening();
  expect(await runCommand(["serv", "."], unknown.io)).toBe(2);
  expect(unknown.said.join("\n")).toContain("Did you mean serve?");
});

it("an empty text is no number of an option", async () => {
  const { said, io } = listening();
  expect(await runCommand(["serve", ".", "--drain-seconds", ""], io)).toBe(2);
  expect(said).toContain("error: --drain-seconds wants a number of 0 or more, not ''");
});

it.each([
  [
    ["infer", "model", "--deadline", "1ms"],
    "--deadline wants a number of 0 or more, not '1ms'; give the number alone, in milliseconds",
  ],
  [
    ["serve", ".", "--max-body", "10MB"],
    "--max-body wants a number of 1 or more, not '10MB'; give the number alone, in bytes",
  ],
  [["serve", ".", "--stall-seconds", "5 s"], "not '5 s'; give the number alone, in seconds"],
])("a number with a unit is refused with the unit of the option (%j)", async (words, why) => {
  const { said, io } = listening();
  expect(await runCommand(words, io)).toBe(2);
  expect(said.join("\n")).toContain(why);
});

it("a port that is no number is refused with the option that turns gRPC off", async () => {
  const { said, io } = listening();
  expect(await runCommand(["serve", ".", "--grpc-port", "false"], io)).toBe(2);
  expect(said).toEqual([
    "error: --grpc-port wants a whole number from 0 to 65535, not 'false'; --no-grpc-port turns gRPC off",
  ]);
});

it.each([
  ["bogus", "there is no execution provider 'bogus'; there are cpu, cuda"],
  ["cpu,cpu", "each once"],
])("a wrong list of providers (%s) is wrong usage, told in one line", async (list, why) => {
  const { said, io } = listening();
  expect(await runCommand(["serve", ".", "--providers", list], io)).toBe(2);
  expect(said).toEqual([expect.stringContaining(why)]);
});

it("a gateway says which servers it may use, and refuses to have none", async () => {
  const none = listening();
  expect(await runCommand(["gateway", "--no-joins"], none.io)).toBe(2);
  expect(none.said.join("\n")).toContain("a gateway with --no-joins needs servers");
  const stop = new AbortController();
  const { said, io } = listening();
  const ports = ["--port", "0", "--no-grpc-port", "--beliefs", "off", "--data-class", "public"];
  const at = ["--at", "http://127.0.0.1:9"];
  const ended = runCommand(["gateway", ...ports, ...at], { ...io, stop: stop.signal });
  await vi.waitFor(
    () => expect(said.join("\n")).toMatch(/^servers: http:\/\/127\.0\.0\.1:9, those that join$/m),
    60_000,
  );
  stop.abort();
  expect(await ended).toBe(0);
});
