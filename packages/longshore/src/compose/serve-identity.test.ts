import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { connect } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { float32Tensor, float32View, readBody, standardPolicy } from "@longshore/core";
import { housekeepingCall, wireRoutes } from "@longshore/core/internal";
import { graphBuilder, writeModel } from "@longshore/graph";
import { httpTransport, systemClock } from "@longshore/nodejs";
import { grpcStream } from "@longshore/testkit";
import { type TestAuthority, testAuthority, type TestCertificate } from "@longshore/testkit/certificates";
import { keyStore } from "./key-store.ts";
import { openModel } from "../engine/open-model.ts";
import { forwardingTo } from "./forwarding.ts";
import { openOffloader } from "./open-offloader.ts";
import { type RunningServer, serve, type ServeOptions } from "./serve.ts";

/** y = relu(x + x), with a cut between the two. */
function doubling(name: string): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", [1, 4]);
  const sum = build.node("Add", [x, x], { outputs: ["s"] });
  build.output(build.node("Relu", [sum], { outputs: ["y"] }), "FP32", [1, 4]);
  return writeModel(build.model({ name }));
}

/** y = x + state, and y is the next state. */
function counting(): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", [1, 1]);
  const state = build.input("state", "FP32", [1, 1]);
  const sum = build.node("Add", [x, state], { outputs: ["y"] });
  build.output(sum, "FP32", [1, 1]);
  build.output(build.node("Identity", [sum], { outputs: ["next"] }), "FP32", [1, 1]);
  return writeModel(build.model({ name: "counting" }));
}

/** Takes some tens of milliseconds: the largest number of a product of large matrices. */
function long(): Uint8Array {
  const build = graphBuilder();
  const x = build.input("x", "FP32", [1, 4]);
  const times = build.weights("times", "INT64", [2], BigInt64Array.of(512n, 128n));
  const large = build.node("Tile", [x, times]);
  let product = large;
  for (let count = 0; count < 8; count++) product = build.node("MatMul", [product, large]);
  build.output(build.node("ReduceMax", [product], { outputs: ["y"] }), "FP32", [1, 1]);
  return writeModel(build.model({ name: "long" }));
}

const countingYaml = `
sequence:
  maxIdleMs: 60000
  states: [{ input: state, output: next, datatype: FP32, shape: [1, 1] }]
`;

const identityYaml = `
certificates:
  - { uri: "spiffe://store.example/gateway", tenant: gateway, rights: [infer, "segment:infer", "head:read"], speaksFor: [acme] }
keys: { file: keys.json }
tenants:
  acme: { models: [double, counting] }
  gateway: {}
  operations: {}
`;

let folder: string;
let authority: TestAuthority;
let gateway: TestCertificate;
let server: RunningServer;
let keyOf: Record<"acme" | "operations", string>;
const file = (name: string): string => join(folder, name);

async function secured(more: Partial<ServeOptions> = {}): Promise<RunningServer> {
  return serve({
    store: (await openModel(file("models"))).store,
    port: 0,
    grpcPort: 0,
    managePort: 0,
    metricsPort: 0,
    identity: file("identity.yaml"),
    tls: {
      certificate: file("server.pem"),
      key: file("server.key"),
      clientAuthorities: file("ca.pem"),
      clientCertificates: "optional",
    },
    ...more,
  });
}

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-serve-"));
  for (const name of ["double", "secret"]) {
    await mkdir(file(`models/${name}/1`), { recursive: true });
    await writeFile(file(`models/${name}/1/model.onnx`), doubling(name));
    await writeFile(file(`models/${name}/model.yaml`), "dataClass: public\n");
  }
  await mkdir(file("models/counting/1"), { recursive: true });
  await writeFile(file("models/counting/1/model.onnx"), counting());
  await writeFile(file("models/counting/model.yaml"), countingYaml);
  authority = await testAuthority();
  gateway = await authority.issue({ name: "gateway", uris: ["spiffe://store.example/gateway"] });
  const own = await authority.issue({ name: "server", addresses: ["127.0.0.1"] });
  await writeFile(file("ca.pem"), authority.certificatePem);
  await writeFile(file("server.pem"), own.certificatePem);
  await writeFile(file("server.key"), own.keyPem);
  await writeFile(file("identity.yaml"), identityYaml);
  const store = keyStore(file("keys.json"), () => Date.now());
  keyOf = {
    acme: (await store.add({ tenant: "acme", rights: ["infer", "segment:infer", "head:read", "manage"] }))
      .text,
    operations: (await store.add({ tenant: "operations", rights: ["manage", "observe"] })).text,
  };
  server = await secured();
});

afterAll(async () => {
  await server.close(0);
  await rm(folder, { recursive: true });
});

interface Shown {
  readonly key?: string;
  readonly certificate?: TestCertificate;
  readonly headers?: Readonly<Record<string, string>>;
}

interface Answer {
  readonly status: number;
  readonly text: string;
}

/** One request over a connection of its own. */
async function ask(
  address: string,
  method: "GET" | "POST",
  path: string,
  shown: Shown,
  body = "{}",
): Promise<Answer> {
  const { key, certificate, headers = {} } = shown;
  const transport = httpTransport({
    address,
    clock: systemClock(),
    ...(key === undefined ? {} : { credentials: { bearer: key } }),
    tls: {
      ca: authority.certificatePem,
      ...(certificate ? { cert: certificate.certificatePem, key: certificate.keyPem } : {}),
    },
  });
  try {
    const parts = method === "POST" ? [new TextEncoder().encode(body)] : [];
    const reply = await transport.send(
      { method, path, headers, body: { kind: "parts", parts } },
      housekeepingCall("test"),
    );
    return {
      status: reply.status,
      text: new TextDecoder().decode(await readBody(reply.body, { maxBytes: 2 ** 20 })),
    };
  } finally {
    await transport.close();
  }
}

const inputs = '{"inputs":[{"name":"x","datatype":"FP32","shape":[1,4],"data":[1,-2,3,4]}]}';

describe("a server with identity", () => {
  it("has management and metrics on ports of their own, and nowhere else", async () => {
    const { address, manageAddress = "", metricsAddress = "" } = server;
    const { operations: key } = keyOf;
    const wanted: readonly (readonly ["GET" | "POST", string, string])[] = [
      ["POST", "/v2/repository/index", manageAddress],
      ["POST", "/v2/repository/models/double/load", manageAddress],
      ["GET", "/v2/logging", manageAddress],
      ["GET", "/metrics", metricsAddress],
    ];
    for (const [method, path, where] of wanted) {
      for (const at of [address, manageAddress, metricsAddress]) {
        expect((await ask(at, method, path, { key })).status, `${path} on ${at}`).toBe(
          at === where ? 200 : 404,
        );
        expect((await ask(at, method, path, {})).status, path).toBe(401);
      }
    }
    for (const at of [address, manageAddress, metricsAddress]) {
      expect((await ask(at, "GET", "/v2/health/ready", {})).status).toBe(200);
    }
  });

  it("hides models of others on every path, as the engine answers", async () => {
    for (const { method, path: template } of wireRoutes.filter(({ path }) => path.includes("{model}"))) {
      const path = (model: string): string =>
        template
          .replace("{model}", model)
          .replace("{version}", "1")
          .replace("{variant}", "default")
          .replace("{from}", "start")
          .replace("{to}", "c1");
      const at =
        template.includes("repository") || template.includes("trace")
          ? (server.manageAddress ?? "")
          : server.address;
      const show = { key: keyOf.acme };
      const hidden = await ask(at, method, path("secret"), show, inputs);
      const absent = await ask(at, method, path("absent"), show, inputs);
      expect(
        { ...hidden, text: hidden.text.replaceAll("secret", "absent") },
        `${method} ${template}`,
      ).toEqual(absent);
      expect(hidden.status, template).toBeGreaterThanOrEqual(400);
    }
    expect(
      (await ask(server.address, "POST", "/v2/models/double/infer", { key: keyOf.acme }, inputs)).status,
    ).toBe(200);
  });

  it("demands the same of gRPC: identity, rights, surface", async () => {
    const model = (name: string): Uint8Array =>
      Uint8Array.of(0x0a, name.length, ...new TextEncoder().encode(name));
    const call = (method: string, message: Uint8Array, { key, certificate, headers = {} }: Shown) =>
      new Promise<number>((resolve, reject) => {
        const session = connect(`https://${server.grpcAddress}`, {
          ca: authority.certificatePem,
          ...(certificate ? { cert: certificate.certificatePem, key: certificate.keyPem } : {}),
        });
        session.on("error", reject);
        const stream = grpcStream(session, method, {
          ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
          ...headers,
        });
        stream.on("error", reject);
        const told = (seen: { readonly [name: string]: unknown }): void => {
          if (seen["grpc-status"] === undefined) return;
          resolve(Number(seen["grpc-status"]));
          session.destroy();
        };
        stream.on("response", told);
        stream.on("trailers", told);
        stream.resume();
        const frame = new Uint8Array(5 + message.byteLength);
        new DataView(frame.buffer).setUint32(1, message.byteLength);
        frame.set(message, 5);
        stream.end(frame);
      });
    const [ok, notFound, denied, unimplemented, unauthenticated] = [0, 5, 7, 12, 16];
    const key = keyOf.acme;
    expect(await call("ServerReady", new Uint8Array(0), {})).toBe(ok);
    expect(await call("ModelMetadata", model("double"), {})).toBe(unauthenticated);
    for (const method of ["ModelStreamInfer", "NoSuchMethod"]) {
      expect(await call(method, model("double"), {}), method).toBe(unauthenticated);
    }
    expect(await call("NoSuchMethod", model("double"), { key })).toBe(unimplemented);
    expect(await call("ModelMetadata", model("double"), { key: `${key.slice(0, -1)}_` })).toBe(
      unauthenticated,
    );
    expect(await call("ModelMetadata", model("double"), { key })).toBe(ok);
    expect(await call("ModelMetadata", model("secret"), { key })).toBe(notFound);
    expect(await call("ModelMetadata", model("secret"), { certificate: gateway })).toBe(ok);
    const acme = { "longshore-tenant": "acme" };
    expect(await call("ModelMetadata", model("secret"), { certificate: gateway, headers: acme })).toBe(
      notFound,
    );
    const others = { "longshore-tenant": "operations" };
    expect(await call("ModelMetadata", model("secret"), { certificate: gateway, headers: others })).toBe(
      denied,
    );
    expect([notFound, unimplemented]).toContain(
      await call("RepositoryIndex", new Uint8Array(0), { key: keyOf.operations }),
    );
    const stranger = await (
      await testAuthority()
    ).issue({ name: "x", uris: ["spiffe://store.example/gateway"] });
    expect(await call("ModelMetadata", model("secret"), { certificate: stranger })).toBe(unauthenticated);
  });

  it("lets a gateway speak for its tenants, with the rights of both", async () => {
    const speaking = (tenant: string, rights?: string): Shown => ({
      certificate: gateway,
      headers: {
        "longshore-tenant": tenant,
        ...(rights === undefined ? {} : { "longshore-rights": rights }),
      },
    });
    const whole = (model: string): string => `/v2/models/${model}/infer`;
    const part = "/v2/models/double/versions/1/variants/default/segments/start..c1/infer";
    const status = async (path: string, shown: Shown): Promise<number> =>
      (await ask(server.address, "POST", path, shown, inputs)).status;
    expect(await status(whole("secret"), { certificate: gateway })).toBe(200);
    expect(await status(whole("double"), speaking("acme"))).toBe(200);
    expect(await status(whole("secret"), speaking("acme"))).toBe(404);
    expect(await status(whole("double"), speaking("operations"))).toBe(403);
    expect(await status(part, speaking("acme"))).toBe(403);
    expect(await status(part, speaking("acme", "infer,segment:infer"))).toBe(200);
    expect(await status(part, { certificate: gateway })).toBe(200);
  });

  it("keeps sequences of one id apart by tenant", async () => {
    const step = async (shown: Shown, start: boolean): Promise<string> => {
      const parameters = `{"sequence_id":7,"sequence_start":${start}}`;
      const body = `{"parameters":${parameters},"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[1]}]}`;
      const { text } = await ask(server.address, "POST", "/v2/models/counting/infer", shown, body);
      const reply = JSON.parse(text) as { reason?: string; outputs?: { data: number[] }[] };
      return reply.reason ?? `${reply.outputs?.[0]?.data[0]}`;
    };
    const one = { key: keyOf.acme };
    const other = { certificate: gateway };
    expect(await step(one, true)).toBe("1");
    expect(await step(one, false)).toBe("2");
    expect(await step(other, false)).toBe("sequence-unknown");
    expect(await step(other, true)).toBe("1");
    expect(await step(one, false)).toBe("3");
    expect(await step(other, false)).toBe("2");
    const speaking = { certificate: gateway, headers: { "longshore-tenant": "acme" } };
    expect(await step(speaking, false)).toBe("4");
  });

  it("makes a step once that is sent again with its idempotency key", async () => {
    const step = async (key: string, x: number): Promise<string> => {
      const parameters = `{"sequence_id":"retried","sequence_start":${key === "first"}}`;
      const body = `{"parameters":${parameters},"inputs":[{"name":"x","datatype":"FP32","shape":[1,1],"data":[${x}]}]}`;
      const shown = { key: keyOf.acme, headers: { "idempotency-key": key } };
      const { text } = await ask(server.address, "POST", "/v2/models/counting/infer", shown, body);
      const reply = JSON.parse(text) as { reason?: string; outputs?: { data: number[] }[] };
      return reply.reason ?? `${reply.outputs?.[0]?.data[0]}`;
    };
    expect(await step("first", 1)).toBe("1");
    expect(await step("second", 1)).toBe("2");
    expect(await step("second", 1)).toBe("2");
    expect(await step("second", 5)).toBe("invalid-input");
    expect(await step("third", 1)).toBe("3");
  });

  it("serves an offloader that shows a key, and one that shows a certificate", async () => {
    const tls = { authorities: authority.certificatePem };
    const ways = [
      { credentials: { bearer: keyOf.acme }, tls },
      { tls: { ...tls, certificate: gateway.certificatePem, key: gateway.keyPem } },
    ];
    for (const way of ways) {
      const offloader = await openOffloader({
        servers: [{ address: server.address, ...way }],
        policy: standardPolicy(),
      });
      const x = float32Tensor("x", [1, 4], Float32Array.of(1, -2, 3, 4));
      const result = await offloader.infer("double", { x }, { dataClass: "public" });
      expect([...float32View(result.outputs.get("y") ?? x)]).toEqual([2, 0, 6, 8]);
    }
    const nobody = await openOffloader({ servers: [{ address: server.address, tls }] });
    const x = float32Tensor("x", [1, 4], new Float32Array(4));
    await expect(nobody.infer("double", { x }, { dataClass: "public" })).rejects.toMatchObject({
      reason: expect.stringMatching(/^(?:unauthenticated|unknown-model|no-endpoint)$/),
    });
  });

  it("forwards for a tenant to another server, which gets the tenant's name", async () => {
    const count = async (tenant: string): Promise<number> => {
      const { text } = await ask(server.metricsAddress ?? "", "GET", "/metrics", { key: keyOf.operations });
      const line = new RegExp(
        `longshore_tenant_requests_total\\{[^}]*tenant="${tenant}"[^}]*\\} (\\d+)`,
      ).exec(text);
      return Number(line?.[1] ?? 0);
    };
    const before = { acme: await count("acme"), gateway: await count("gateway") };
    const front = await secured({
      id: "front",
      store: { list: async () => [], read: async () => undefined },
      wrap: forwardingTo({
        servers: [
          {
            address: server.address,
            forwardsTenants: true,
            tls: {
              authorities: authority.certificatePem,
              certificate: gateway.certificatePem,
              key: gateway.keyPem,
            },
          },
        ],
      }),
    });
    try {
      const shown = { key: keyOf.acme, headers: { "longshore-rules": "class=public;trust=none" } };
      const forward = (model: string) =>
        ask(front.address, "POST", `/v2/models/${model}/infer`, shown, inputs);
      expect(await forward("double")).toMatchObject({
        status: 200,
        text: expect.stringContaining("[2,0,6,8]"),
      });
      expect(await forward("secret")).toMatchObject({ status: 404 });
      expect({ acme: await count("acme"), gateway: await count("gateway") }).toEqual({
        acme: before.acme + 1,
        gateway: before.gateway,
      });
    } finally {
      await front.close(0);
    }
  });
});

it("a gateway that names the tenant of each request serves one tenant while another has used up its share there", async () => {
  await mkdir(file("busy/long/1"), { recursive: true });
  await writeFile(file("busy/long/1/model.onnx"), long());
  await writeFile(file("busy/long/model.yaml"), "dataClass: public\n");
  await writeFile(
    file("two.yaml"),
    `
certificates:
  - { uri: "spiffe://store.example/gateway", tenant: gateway, rights: [infer], speaksFor: [acme, flood] }
keys: { file: keys.json }
tenants: { acme: {}, flood: {}, gateway: {} }
`,
  );
  const store = keyStore(file("keys.json"), () => Date.now());
  const flood = await store.add({ tenant: "flood", rights: ["infer"] });
  const identity = file("two.yaml");
  const behind = await secured({
    identity,
    store: (await openModel(file("busy"))).store,
    workers: 1,
    maxQueued: 3,
  });
  const tls = {
    authorities: authority.certificatePem,
    certificate: gateway.certificatePem,
    key: gateway.keyPem,
  };
  const front = await secured({
    identity,
    store: { list: async () => [], read: async () => undefined },
    wrap: forwardingTo({ servers: [{ address: behind.address, forwardsTenants: true, tls }] }),
  });
  const infer = (key: string): Promise<Answer> => {
    const shown = { key, headers: { "longshore-rules": "class=public;trust=none" } };
    return ask(front.address, "POST", "/v2/models/long/infer", shown, inputs);
  };
  try {
    expect(await infer(keyOf.acme)).toMatchObject({ status: 200 });
    const crowd = Array.from({ length: 8 }, () => infer(flood.text));
    const refused = crowd.map(async (one) => expect((await one).text).toContain("queue-full"));
    await Promise.any(refused);
    expect(await infer(keyOf.acme)).toMatchObject({ status: 200 });
    await Promise.allSettled(refused);
  } finally {
    await front.close(0);
    await behind.close(0);
  }
});

describe("a server that others can reach", () => {
  it("does not start without identity, unless that is said", async () => {
    const store = (await openModel(file("models"))).store;
    const exposed: readonly ServeOptions[] = [
      { store, port: 0, host: "0.0.0.0" },
      { store, port: 0, host: "::" },
      { store, port: 0, managePort: 0, manageHost: "0.0.0.0" },
      { store, port: 0, metricsPort: 0, metricsHost: "0.0.0.0" },
    ];
    for (const options of exposed) {
      await expect(serve(options)).rejects.toMatchObject({
        reason: "invalid-configuration",
        message: expect.stringContaining("--insecure-no-identity"),
      });
    }
    const open = await serve({ store, port: 0, host: "0.0.0.0", insecureNoIdentity: true });
    await open.close(0);
    const local = await serve({ store, port: 0 });
    await local.close(0);
  });

  it("does not start with certificates or identity that are not good", async () => {
    await expect(secured({ identity: file("none.yaml") })).rejects.toMatchObject({
      reason: "invalid-configuration",
    });
    const tls = { certificate: file("server.pem"), key: file("none.key") };
    await expect(secured({ tls })).rejects.toMatchObject({ reason: "invalid-configuration" });
    await expect(secured({ tls: { ...tls, key: file("ca.pem") } })).rejects.toMatchObject({
      reason: "invalid-configuration",
    });
  });
});
