import { expect, it } from "vitest";
import { usableProviders } from "./device-engines.ts";

it("leaves out providers that do not work here, and says why", async () => {
  const told: string[] = [];
  const usable = await usableProviders(["coreml", "cpu"], (provider, why) => {
    told.push(`${provider}: ${why}`);
  });
  expect(usable).toEqual(["cpu"]);
  expect(told).toEqual([expect.stringContaining("coreml: ")]);
});

it("refuses a list of which nothing works", async () => {
  await expect(usableProviders(["coreml"], () => undefined)).rejects.toMatchObject({
    reason: "unsupported",
    message: expect.stringContaining("no execution provider of [coreml] works here") as string,
  });
});

it("refuses a name that no execution provider has, and names those that there are", async () => {
  await expect(usableProviders(["cuda", "bogus"], () => undefined)).rejects.toMatchObject({
    reason: "invalid-input",
    message: expect.stringMatching(/'bogus'.*cpu, cuda, tensorrt/) as string,
  });
});
