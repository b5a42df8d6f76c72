import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { meanBitsPerSecond } from "@longshore/lab";
import { linkOf } from "./link-of.ts";

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), "longshore-links-"));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("links", () => {
  it("takes a rate, or the file of a trace", async () => {
    expect(meanBitsPerSecond(await linkOf("uplink", "5mbit"))).toBeCloseTo(5e6, -2);
    const file = join(folder, "a.trace");
    writeFileSync(file, "0.0 2\n1.0 4\n");
    const trace = await linkOf("uplink", file);
    expect(trace.name).toBe("a.trace");
    expect(meanBitsPerSecond(trace)).toBeCloseTo(3e6, -2);
  });

  it("refuses any other text, naming the option, the value and the forms", async () => {
    await expect(linkOf("downlink", "fast")).rejects.toMatchObject({
      reason: "invalid-input",
      message: expect.stringMatching(/--downlink fast.*5mbit, 600kbit or 1\.5Mbit\/s/) as string,
    });
  });
});
