import { Command } from "commander";
import { expect, it } from "vitest";
import { type PortLimitOptions, portLimitOptions, portLimits } from "./port-limit-options.ts";

it("gives the headers of a request no more time than the whole request", () => {
  const limits = (...argv: readonly string[]): unknown =>
    portLimits(portLimitOptions(new Command()).parse(argv, { from: "user" }).opts<PortLimitOptions>());
  expect(limits()).toMatchObject({ headersTimeoutMs: 10_000, requestTimeoutMs: 300_000 });
  expect(limits("--request-seconds", "8")).toMatchObject({ headersTimeoutMs: 8000, requestTimeoutMs: 8000 });
});
