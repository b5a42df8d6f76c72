import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { hopFacts, endpointsOf } from "./endpoints.ts";

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-endpoints-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

/** A packet at this interval in milliseconds, for a second. */
const every = (ms: number): string =>
  Array.from({ length: 1000 / ms }, (_none, at) => `${(at + 1) * ms}\n`).join("");
const mean = (values: readonly number[] = []): number =>
  values.reduce((sum, value) => sum + value, 0) / values.length;

it("takes the recorded downlink that lies beside an uplink for the way back", async () => {
  const up = join(folder, "drive.up");
  await writeFile(up, every(20));
  await writeFile(join(folder, "drive.down"), every(2));
  const endpoints = await endpointsOf({ endpoint: [`edge,rtt=0,overhead=0,up=${up}`] });
  const [hop] = hopFacts(endpoints, 146_000, 146_000);
  // A hundred packets of 20 ms there, and of 2 ms back.
  expect(mean(hop?.msPerByte) * 146_000).toBeGreaterThan(1900);
  expect(mean(hop?.fixedMs)).toBeLessThan(250);
});

it("prices a byte by full packets, however short the input is", async () => {
  const up = join(folder, "slow.txt.up");
  await writeFile(up, every(20));
  const endpoints = await endpointsOf({ endpoint: [`edge,up=${up}`] });
  const perByte = (bytes: number): number => mean(hopFacts(endpoints, bytes, 1)[0]?.msPerByte);
  expect(perByte(40)).toBe(perByte(1460));
});

it("names the endpoint whose link never carries anything or is none", async () => {
  await expect(endpointsOf({ endpoint: ["edge,up=soon"] })).rejects.toMatchObject({
    message: expect.stringContaining("--endpoint edge: soon is neither a rate nor a file") as string,
  });
});
