import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type ClientHttp2Session, connect } from "node:http2";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { LongshoreError } from "@longshore/core";
import { virtualClock } from "@longshore/lab";
import { systemRandom } from "@longshore/nodejs";
import { type Identity, LocalAllowances } from "@longshore/server";
import { runCommand } from "../command/run-command.ts";
import { type CheckerParts, requestChecker } from "./check-request.ts";
import { parseLimits } from "./limits.ts";

let folder: string;
const open: (() => unknown)[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-authz-"));
});
afterEach(async () => {
  for (const end of open.splice(0).reverse()) await end();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const infer = "/v2/models/ocr/infer";
const modelInfer = "/inference.GRPCInferenceService/ModelInfer";

function checker(identity: Partial<Identity> | LongshoreError, more: Partial<CheckerParts> = {}) {
  const clock = virtualClock();
  const { check } = requestChecker({
    identify: () => {
      if (identity instanceof LongshoreError) throw identity;
      return { tenant: "acme", rights: new Set(["infer"]), ...identity };
    },
    clock,
    random: systemRandom(),
    ...more,
  });
  return (path: string, headers: Readonly<Record<string, string>> = {}, method = "POST") =>
    check({ id: "", method, path, headers, source: "10.0.0.9" });
}

const grpc = { "content-type": "application/grpc" };

it("lets a request go on with tenant, rights and rules, and without its credentials", async () => {
  const check = checker(
    {},
    { upstreamKey: "own", unstatedRules: { dataClass: "internal", leastTrust: "none" } },
  );
  expect(
    await check(infer, { authorization: "Bearer a", "x-api-key": "k", cookie: "c", "longshore-tenant": "x" }),
  ).toEqual({
    allowed: true,
    headers: {
      "longshore-tenant": "acme",
      "longshore-rights": "infer",
      "longshore-rules": "class=internal;trust=none",
      authorization: "Bearer own",
    },
    removed: ["x-api-key", "cookie"],
  });
  expect(await checker({})(infer, { authorization: "Bearer a" })).toMatchObject({
    removed: ["authorization"],
  });
  // Probes have no credentials.
  const stranger = checker({ rights: new Set(), known: false });
  expect(await stranger("/v2/health/ready", {}, "GET")).toMatchObject({ allowed: true });
  expect(await stranger("/grpc.health.v1.Health/Check", grpc)).toMatchObject({ allowed: true });
});

it("denies with the status, the reason and when to come back, over HTTP and gRPC", async () => {
  const bad = checker(new LongshoreError("unauthenticated", "identify", "no"));
  expect(await bad(infer)).toMatchObject({
    allowed: false,
    status: 401,
    headers: { "www-authenticate": expect.any(String) },
  });
  expect(await bad(modelInfer, grpc)).toMatchObject({
    status: 401,
    headers: { "grpc-status": "16", "longshore-reason": "unauthenticated" },
    body: "no",
  });
  const waiting = checker(new LongshoreError("rejected", "identify", "wait", { retryAfterMs: 1500 }));
  expect(await waiting(infer)).toMatchObject({ status: 503, headers: { "retry-after": "2" } });
  const narrow = checker({ sees: (model) => model === "ocr" });
  expect(await narrow(infer)).toMatchObject({ allowed: true });
  expect(await narrow("/v2/models/other/infer")).toMatchObject({ status: 404 });
  // A call over gRPC could name one model in a header and another in its message.
  expect(await narrow(modelInfer, { ...grpc, "longshore-model": "ocr" })).toMatchObject({ status: 403 });
  const all = checker({});
  expect(await all(modelInfer, grpc)).toMatchObject({ allowed: true });
  expect(await all("/v2/repository/models/ocr/load")).toMatchObject({ status: 403 });
  expect(await all("/inference.GRPCInferenceService/RepositoryModelLoad", grpc)).toMatchObject({
    headers: { "grpc-status": "12" },
  });
  expect(await all(infer, { "longshore-rules": "trust=everyone" })).toMatchObject({ status: 403 });
  expect(await all(infer, { "longshore-deadline": "soon" })).toMatchObject({ status: 400 });
  expect(await all(infer, {}, "TRACE")).toMatchObject({ status: 405 });
  expect(await all("/v1/chat/completions")).toMatchObject({ status: 404 });
  const any = checker({}, { anyPath: true });
  expect(await any("/v1/chat/completions")).toMatchObject({ allowed: true });
  expect(await any("/other.Service/Call", grpc)).toMatchObject({ allowed: true });
  expect(await checker({ sees: () => true }, { anyPath: true })("/v1/chat/completions")).toMatchObject({
    status: 403,
  });
  expect(await checker({ rights: new Set() }, { anyPath: true })("/v1/chat/completions")).toMatchObject({
    status: 403,
  });
});

it("keeps limits of requests and bytes, of inferences alone", async () => {
  const rules = parseLimits(
    "tenants: { acme: { requestsPerSecond: 2, bytesPerSecond: 1000 } }",
    "limits.yaml",
  );
  const clock = virtualClock();
  const check = checker({}, { allowances: new LocalAllowances(() => rules, clock), clock });
  expect(await check(infer, { "content-length": "400" })).toMatchObject({ allowed: true });
  expect(await check(infer)).toMatchObject({ status: 429, headers: { "retry-after": "1" } });
  expect(await check(modelInfer, grpc)).toMatchObject({
    headers: { "grpc-status": "8", "longshore-reason": "tenant-limit" },
  });
  expect(await check("/v2/models/ocr", {}, "GET")).toMatchObject({ allowed: true });
  await clock.advance(600);
  expect(await check(infer, { "content-length": "600" })).toMatchObject({ allowed: true });
  await clock.advance(500);
  expect(await check(infer, { "content-length": "600" })).toMatchObject({ status: 429 });
});

it("refuses limits that a proxy cannot keep, with file and line", () => {
  for (const name of ["concurrency", "deviceSecondsPerMinute", "microsPerDay"]) {
    const refused = `limits.yaml:2: tenants.acme.${name} is an unknown key; known here: requestsPerSecond, bytesPerSecond; a proxy does not tell how a request ended`;
    expect(() => parseLimits(`tenants:\n  acme: { ${name}: 3 }\n`, "limits.yaml")).toThrow(refused);
  }
  expect(() => parseLimits("concurrency: 3\ntenants: {}\n", "limits.yaml")).toThrow("at the servers");
  expect(() => parseLimits("{}", "limits.yaml")).toThrow("limits.yaml");
});

/** Runs the command until it ends, or until it has printed a line. */
async function command(...args: readonly string[]) {
  const stop = new AbortController();
  const lines: string[] = [];
  const notes: string[] = [];
  let first = (): void => undefined;
  const printed = new Promise<void>((resolve) => (first = resolve));
  const done = runCommand(["authz", ...args], {
    out: (text) => {
      lines.push(text);
      first();
    },
    note: (text) => void notes.push(text),
    progress: () => undefined,
    environment: {},
    stop: stop.signal,
  });
  await Promise.race([printed, done]);
  open.push(() => {
    stop.abort();
    return done;
  });
  return { lines, notes, done };
}

it("answers Check over gRPC, prints Envoy's configuration, and refuses nonsensical options", async () => {
  const identity = join(folder, "identity.yaml");
  await writeFile(identity, "anonymous: { rights: [infer] }\n");
  const { lines } = await command("--identity", identity, "--port", "0", "--json");
  const { listening } = JSON.parse(lines[0] ?? "") as Record<string, string>;
  const session: ClientHttp2Session = connect(`http://${listening}`);
  open.push(() => session.destroy());
  const stream = session.request({
    ":method": "POST",
    ":path": "/envoy.service.auth.v3.Authorization/Check",
    "content-type": "application/grpc",
    te: "trailers",
  });
  const field = (number: number, bytes: Buffer) =>
    Buffer.concat([Buffer.from([(number << 3) | 2, bytes.length]), bytes]);
  const http = Buffer.concat([field(2, Buffer.from("POST")), field(4, Buffer.from(infer))]);
  const message = field(1, field(4, field(2, http)));
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.byteLength, 1);
  stream.end(Buffer.concat([prefix, message]));
  const [answer] = (await once(stream, "data")) as [Buffer];
  expect(answer.toString()).toContain("longshore-tenant");
  stream.resume();
  await once(stream, "close");
  const printing = await command("--identity", identity, "--print-envoy", "--to", "https://models.example");
  for (const part of ["ext_authz", "failure_mode_allow: false", "models.example", "port_value: 9003"])
    expect(printing.lines[0]).toContain(part);
  const key = join(folder, "key");
  await writeFile(key, "two words\n");
  for (const [args, why] of [
    [["--print-envoy"], "--print-envoy needs --to URL"],
    [["--print-envoy", "--to", "somewhere"], "--to wants an address"],
    [["--upstream-key", key], "a file with one key or token"],
    [["--limits", "/no/limits.yaml"], "the limits"],
    [["--tls-cert", "a.pem"], "--tls-cert and --tls-key go together"],
  ] as const) {
    const refused = await command("--identity", identity, ...args);
    expect(await refused.done).toBe(2);
    expect(refused.notes.join("\n")).toContain(why);
  }
});
