import { expect, it } from "vitest";
import { usableProviders } from "./device-engines.ts";

it("leaves out providers that do not work here, and says why", async () => {
  const told: string[] = [];
  const usable = await usableProviders(["no-such-provider", "cpu"], (provider, why) => {
    told.push(`${provider}: ${why}`);
  });
  expect(usable).toEqual(["cpu"]);
  expect(told).toEqual([expect.stringContaining("no-such-provider: ")]);
});

it("refuses a list of which nothing works", async () => {
  await expect(usableProviders(["no-such-provider"], () => undefined)).rejects.toMatchObject({
    reason: "unsupported",
    message: expect.stringContaining("no execution provider of [no-such-provider] works here") as string,
  });
});
