import { expect, it } from "vitest";
import { type RunningServer, serve } from "./serve.ts";

it("refuses to serve without models, naming what is missing", async () => {
  // As a caller in plain JavaScript would.
  const untyped = serve as (options?: unknown) => Promise<RunningServer>;
  for (const wrong of [undefined, "models", ["models"], { port: 0 }, { repository: 5 }]) {
    await expect(untyped(wrong)).rejects.toMatchObject({
      reason: "invalid-configuration",
      message: expect.stringContaining("repository") as string,
    });
  }
});
