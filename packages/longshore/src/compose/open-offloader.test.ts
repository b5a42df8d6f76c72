import { expect, it } from "vitest";
import { openOffloader, type OpenOptions } from "./open-offloader.ts";

it("refuses an option that does not exist, and names those that do", async () => {
  const misspelt = { servers: [], defaultz: {} } as OpenOptions;
  await expect(openOffloader(misspelt)).rejects.toMatchObject({
    reason: "invalid-configuration",
    message: expect.stringMatching(/no option 'defaultz'; it has repository, .*defaults/),
  });
  await expect(openOffloader("./models" as never)).rejects.toMatchObject({ reason: "invalid-configuration" });
});
