import { cpSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it, vi } from "vitest";
import {
  float32Tensor,
  float32View,
  LongshoreError,
  type Offloader,
  type Result,
  seededRandom,
  type Tensor,
} from "@longshore/core";
import {
  housekeepingCall,
  type PackageHeads,
  type PackageSource,
  readHeads,
  remotePackages,
} from "@longshore/core/internal";
import { constantTrace, linkProxy } from "@longshore/lab";
import { httpTransport, newOperatorKey, systemClock } from "@longshore/nodejs";
import { breakingRelay } from "../../test/breaking-relay.ts";
import { command } from "../../test/command.ts";
import { openModel } from "../engine/open-model.ts";
import { openOffloader } from "../compose/open-offloader.ts";
import type { OpenOptions } from "../compose/open-options.ts";
import { installedSamples } from "../engine/samples.ts";
import { type RunningServer, serve, type ServeOptions } from "../compose/serve.ts";

/** A window of readings of the sample, 524 kB; its head to c3 leaves 33 kB. */
const random = seededRandom(1);
const readings = float32Tensor(
  "readings",
  [1, 32, 4096],
  Float32Array.from({ length: 32 * 4096 }, () => random.next() - 0.5),
);
const exact = { dataClass: "public", minAgreementRatio: 1 } as const;

const key = newOperatorKey();
let folder: string;
let heads: PackageHeads;
let score: number;
const file = (name: string): string => join(folder, name);
const blobs = (cache: string): readonly string[] =>
  existsSync(file(`${cache}/blobs`))
    ? readdirSync(file(`${cache}/blobs`)).map((name) => `sha256:${name}`)
    : [];
const scoreOf = ({ outputs }: Result): number => float32View(outputs.get("score") as Tensor)[0] ?? NaN;
const graph = () => heads.graphs[0]!;
const headTo = (cut: string) => graph().heads.find((one) => one.cut.id === cut)!;

const origin = async (more: Partial<ServeOptions> = {}): Promise<RunningServer> =>
  serve({ store: (await openModel(file("models"))).store, port: 0, ...more });

/** A link on which sending the readings takes 210 ms, and what the head leaves of them 13. */
const slowLink = ({ address }: RunningServer) =>
  linkProxy({
    target: { port: Number(new URL(address).port) },
    up: constantTrace(20e6),
    down: constantTrace(100e6),
    delayMs: 2,
  });

/** A device with none of the model's files, which looks at the package again only where a request makes it. */
const device = (from: string, into: string, more: Partial<OpenOptions> = {}) =>
  openOffloader({
    packages: {
      from,
      into: file(into),
      operatorKeys: key.publicLine,
      wanted: [{ model: "anomaly" }],
      againMs: 3_600_000,
    },
    ...more,
  });

/**
 * Memory for a head and not for the whole: where everything takes long, a server that was given up for lost would leave the device the
 * whole, with which it runs everything here from then on.
 */
const narrow = { memoryBytes: () => 3e6 };

const segments = ({ accounts }: Result): readonly string[] =>
  accounts.map(
    ({ endpoint, segment: { from, to } }) => `${from}..${to} ${endpoint === "device" ? "here" : "there"}`,
  );

async function sign(...more: readonly string[]): Promise<void> {
  const { code } = await command(
    "package",
    "sign",
    file("models/anomaly"),
    "--key",
    file("operator.pem"),
    ...more,
  );
  expect(code).toBe(0);
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "longshore-heads-"));
  cpSync(join((await installedSamples())!, "anomaly"), file("models/anomaly"), { recursive: true });
  await writeFile(file("operator.pem"), key.privatePem);
  await writeFile(file("operator.pub"), key.publicLine);
  await sign("--heads");
  heads = readHeads(readFileSync(file("models/anomaly/heads.json")));
  const whole = await openOffloader({ repository: file("models") });
  score = scoreOf(await whole.infer("anomaly", { readings }, exact));
  await whole.close();
});
afterAll(() => rmSync(folder, { recursive: true }));

it("a device fetches the head that its plans need and no more, and runs it before a tail elsewhere", async () => {
  const server = await origin();
  await using link = await slowLink(server);
  const servers = [`http://127.0.0.1:${link.port}`];
  const app = await device(server.address, "needed", { servers, device: narrow });
  const first = await app.infer("anomaly", { readings }, exact);
  expect(segments(first)).toEqual(["start..end there"]);
  await vi.waitFor(
    async () => {
      const result = await app.infer("anomaly", { readings }, exact);
      expect(segments(result)).toEqual(["start..c3 here", "c3..end there"]);
      expect(scoreOf(result)).toBeCloseTo(score, 4);
    },
    { timeout: 60_000, interval: 50 },
  );
  expect(blobs("needed")).toContain(headTo("c3").digest);
  expect(blobs("needed")).not.toContain(graph().digest);
  expect(headTo("c3").bytes).toBeLessThan(graph().bytes / 10);
  await app.close();
  await server.close(0);
});

it("a head comes alone, and goes on where it broke off, by the bytes on the link", async () => {
  const server = await origin();
  const head = headTo("c3").bytes;
  await using link = await breakingRelay(Number(new URL(server.address).port), Math.round(0.8 * head));
  const from = ["--from", `http://127.0.0.1:${link.port}`, "--into", file("counted")];
  const fetching = command(
    "package",
    "fetch",
    "anomaly",
    ...from,
    "--operator-keys",
    file("operator.pub"),
    "--head",
    "c3",
  );
  await link.broke;
  expect(blobs("counted")).not.toContain(headTo("c3").digest);
  link.mend();
  expect((await fetching).code).toBe(0);
  expect(blobs("counted")).toContain(headTo("c3").digest);
  // The manifest and the small files come first; begun again, the head alone would have come nearly twice.
  const { downBytes: down } = link;
  expect(down).toBeGreaterThan(head);
  expect(down).toBeLessThan(1.3 * head + 30_000);
  expect(down).toBeLessThan(graph().bytes / 8);
  await server.close(0);
});

/** Asks until the model is split. */
const untilSplit = (app: Offloader): Promise<Result> =>
  vi.waitFor(
    async () => {
      const result = await app.infer("anomaly", { readings }, exact);
      expect(segments(result)).toEqual(["start..c3 here", "c3..end there"]);
      return result;
    },
    { timeout: 60_000, interval: 50 },
  );

it("a tail goes to another endpoint when its own is gone; without any, the whole is fetched, or the request learns why", async () => {
  const [one, two, shelf] = await Promise.all([
    origin({ id: "one" }),
    origin({ id: "two" }),
    origin({ id: "shelf" }),
  ]);
  await using linkOne = await slowLink(one);
  await using linkTwo = await slowLink(two);
  const servers = [linkOne, linkTwo].map(({ port }) => `http://127.0.0.1:${port}`);
  let { memoryBytes } = narrow;
  const room = { memoryBytes: () => memoryBytes() };
  const [app, poor] = await Promise.all([
    device(shelf.address, "moves", { servers, device: room }),
    device(one.address, "poor", { servers: servers.slice(0, 1), device: room }),
  ]);
  await untilSplit(app);
  await untilSplit(poor);
  linkOne.cut({ reset: true });
  await one.close(0);
  const second = await app.infer("anomaly", { readings }, exact);
  expect(segments(second).at(-1)).toMatch(/^(c3|start)\.\.end there$/);
  expect(scoreOf(second)).toBeCloseTo(score, 4);
  expect(blobs("moves")).not.toContain(graph().digest);

  memoryBytes = () => Infinity;
  linkTwo.cut({ reset: true });
  await two.close(0);
  const third = await app.infer("anomaly", { readings }, exact);
  expect(segments(third).at(-1)).toMatch(/\.\.end here$/);
  expect(scoreOf(third)).toBeCloseTo(score, 4);
  expect(blobs("moves")).toContain(graph().digest);

  // Its only server was where the package came from, too.
  await expect(poor.infer("anomaly", { readings }, exact)).rejects.toMatchObject({
    // The latter if it was polled meanwhile.
    reason: expect.stringMatching(/^(unreachable|no-endpoint)$/) as string,
  });
  await Promise.all([app.close(), poor.close(), shelf.close(0)]);
});

it("a request that must not leave the device makes it fetch the whole", async () => {
  const server = await origin();
  const app = await device(server.address, "private", { servers: [server.address] });
  const result = await app.infer("anomaly", { readings }, { ...exact, dataClass: "restricted" });
  expect(segments(result)).toEqual(["start..end here"]);
  expect(blobs("private")).toContain(graph().digest);
  await app.close();
  await server.close(0);
});

it("a device that starts with a model file that broke on its disk gets it again", async () => {
  const server = await origin();
  const restricted = { ...exact, dataClass: "restricted" } as const;
  const app = await device(server.address, "broken", { servers: [server.address] });
  await app.infer("anomaly", { readings }, restricted);
  await app.close();
  const blob = file(`broken/blobs/${graph().digest.slice("sha256:".length)}`);
  const bytes = readFileSync(blob);
  await writeFile(blob, new Uint8Array(bytes.byteLength));
  const again = await device(server.address, "broken", { servers: [server.address] });
  const result = await again.infer("anomaly", { readings }, restricted);
  expect(segments(result)).toEqual(["start..end here"]);
  expect(readFileSync(blob).equals(bytes)).toBe(true);
  await again.close();
  await server.close(0);
});

it("a head that is not the one that was signed is never run, and a device without the right goes on without it", async () => {
  const server = await origin();
  await using link = await slowLink(server);
  const servers = [`http://127.0.0.1:${link.port}`];
  const transport = httpTransport({ address: server.address, clock: systemClock() });
  const honest = remotePackages(transport, server.address);
  const wrong = new Uint8Array(headTo("c3").bytes);
  const told = (refusal: LongshoreError | undefined): PackageSource => ({
    ...honest,
    async head() {
      if (refusal) throw refusal;
      return { fromByte: 0, read: () => once(wrong) };
    },
  });
  const refusal = new LongshoreError("not-permitted", "identify", "the right head:read is missing");
  for (const [into, source] of [
    ["lied-to", told(undefined)],
    ["refused", told(refusal)],
  ] as const) {
    const failures: string[] = [];
    const app = await openOffloader({
      servers,
      packages: {
        from: server.address,
        into: file(into),
        operatorKeys: key.publicLine,
        wanted: [{ model: "anomaly" }],
        source,
      },
      observer: { record: (event) => void (event.kind === "failure" && failures.push(event.reason)) },
    });
    await vi.waitFor(
      async () => {
        expect(segments(await app.infer("anomaly", { readings }, exact))).toEqual(["start..end there"]);
        expect(failures).toContain(into === "refused" ? "not-permitted" : "bad-reply");
      },
      { timeout: 60_000, interval: 50 },
    );
    // It is left alone for a while, and requests go on as if it could not be had.
    expect(segments(await app.infer("anomaly", { readings }, exact))).toEqual(["start..end there"]);
    expect(blobs(into)).not.toContain(headTo("c3").digest);
    await app.close();
  }
  await transport.close();
  await server.close(0);
});

it("a device whose packages do not come starts nevertheless when servers answer, and closes while it waits", async () => {
  const server = await origin();
  let asked = 0;
  const app = await openOffloader({
    servers: [server.address],
    packages: {
      from: server.address,
      into: file("silent"),
      operatorKeys: key.publicLine,
      wanted: [{ model: "anomaly" }],
      waitMs: 20,
      source: {
        name: "silent",
        manifest: (_wanted, { abort }) =>
          new Promise((_resolve, reject) => {
            asked++;
            abort.addEventListener("abort", () => reject(abort.reason as Error));
          }),
        file: () => Promise.reject(new Error("nothing was listed")),
      },
    },
  });
  expect(segments(await app.infer("anomaly", { readings }, exact))).toEqual(["start..end there"]);
  expect(asked).toBe(1);
  await app.close();
  await server.close(0);
});

it("a head that was evicted goes on running where it is loaded, and is fetched again by a device that starts again", async () => {
  const server = await origin();
  await using link = await slowLink(server);
  const servers = [`http://127.0.0.1:${link.port}`];
  const app = await device(server.address, "evicted", { servers, device: narrow });
  await untilSplit(app);
  const blob = file(`evicted/blobs/${headTo("c3").digest.slice("sha256:".length)}`);
  rmSync(blob);
  await untilSplit(app);
  expect(existsSync(blob)).toBe(false);
  await app.close();
  const again = await device(server.address, "evicted", { servers, device: narrow });
  await untilSplit(again);
  expect(existsSync(blob)).toBe(true);
  await again.close();
  await server.close(0);
});

/** Other labels are another content, whose digest is returned; the measurements hold for it, too. */
async function signAnew({ engine }: RunningServer, label: string): Promise<string> {
  const call = housekeepingCall("test");
  await writeFile(file("models/anomaly/labels.txt"), `normal\nnoise\nspike\nstep\n${label}\n`);
  await engine.load("anomaly", undefined, call);
  const { digest } = (await engine.describe("anomaly", undefined, call))!.description;
  const profile = file("models/anomaly/1/profile.json");
  const measured = JSON.parse(readFileSync(profile, "utf8")) as object;
  await writeFile(profile, JSON.stringify({ ...measured, digest }));
  await sign();
  await engine.load("anomaly", undefined, call);
  return digest;
}

it("head and tail are of one content: requests make a device follow a package that was signed again", async () => {
  const server = await origin();
  await using link = await slowLink(server);
  const servers = [`http://127.0.0.1:${link.port}`];
  let { memoryBytes } = narrow;
  const room = { memoryBytes: () => memoryBytes() };
  const app = await device(server.address, "follows", { servers, device: room });
  const digestsOf = ({ accounts }: Result) => [...new Set(accounts.map(({ segment }) => segment.digest))];
  await untilSplit(app);
  for (const how of ["by what is refused", "by what is offered"]) {
    const digest = await signAnew(server, how);
    if (how === "by what is offered") await app.refresh();
    // The first that comes later than a second after the last look, where the machine is not very busy.
    const result = await vi.waitFor(() => app.infer("anomaly", { readings }, exact), { timeout: 60_000 });
    expect(digestsOf(result)).toEqual([digest]);
    expect(digestsOf(await untilSplit(app))).toEqual([digest]);
  }
  expect(blobs("follows")).not.toContain(graph().digest);
  // The bytes of the whole are gone, which only a reader of them notices.
  const digest = await signAnew(server, "by what is fetched");
  memoryBytes = () => Infinity;
  const whole = await app.infer("anomaly", { readings }, { ...exact, dataClass: "restricted" });
  expect([segments(whole), digestsOf(whole)]).toEqual([["start..end here"], [digest]]);
  await app.close();
  await server.close(0);
});

it("commands fetch a head beforehand and use it", async () => {
  const server = await origin({ loadModels: ["anomaly"] });
  const keys = ["--operator-keys", file("operator.pub")];
  const into = ["--from", server.address, "--into", file("command")];
  const fetched = await command("package", "fetch", "anomaly", ...into, ...keys, "--head", "c3");
  expect(fetched.code).toBe(0);
  expect(blobs("command")).toContain(headTo("c3").digest);
  expect(blobs("command")).not.toContain(graph().digest);
  const none = await command("package", "fetch", "anomaly", ...into, ...keys, "--head", "c4");
  expect([none.code, none.notes]).toEqual([2, expect.stringContaining("heads to c3, c36, c42")]);
  const packages = ["--packages-into", file("command"), "--at", server.address, ...keys];
  await writeFile(file("readings.raw"), readings.bytes);
  const request = ["anomaly", file("readings.raw"), "--data-class", "public", "--json"];
  const { code, out } = await command("infer", ...request, ...packages);
  expect([code, (JSON.parse(out) as { where: string }).where]).toEqual([
    0,
    expect.stringContaining("127.0.0.1"),
  ]);
  expect(blobs("command")).not.toContain(graph().digest);
  const nowhere = await command("infer", ...request, "--package", "x");
  expect(nowhere.out + nowhere.notes).toContain("need --packages-into");
  await server.close(0);
});
