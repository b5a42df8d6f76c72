import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { beforeAll, describe, expect, it } from "vitest";
import {
  codecSet,
  emptyBody,
  float32Tensor,
  type Handler,
  LongshoreError,
  type Peer,
  rawCodec,
  readBody,
  silentObserver,
  type Surface,
  tensorsOf,
  type WireRequest,
} from "@longshore/core";
import { createRegistry, housekeepingCall, wireRoutes } from "@longshore/core/internal";
import { doubleDescription, doubleEndpoint, manualClock } from "@longshore/testkit";
import {
  allRights,
  createIdentify,
  keyHasher,
  newApiKey,
  parseIdentity,
  type Right,
} from "../identify/index.ts";
import { createAllowanceLeases, LocalAllowances } from "../quota/index.ts";
import { createHandler } from "./handler.ts";
import type { ServedRepository } from "./served-repository.ts";

const clock = manualClock();
const key = newApiKey();
const others = newApiKey();
let issuer: CryptoKeyPair;
beforeAll(async () => {
  issuer = await generateKeyPair("ES256", { extractable: true });
});

const away: Peer = { address: "192.0.2.7", loopback: false, encrypted: true };
const local: Peer = { address: "127.0.0.1", loopback: true };
const certified: Peer = {
  ...away,
  certificate: {
    verified: true,
    fingerprint: "ab".repeat(32),
    subject: "CN=x",
    uris: ["spiffe://store.example/till"],
  },
};

const repository: ServedRepository = {
  index: async () => [
    { name: "double", version: "1", state: "READY", reason: "" },
    { name: "secret", version: "1", state: "READY", reason: "" },
  ],
  load: async (model) => {
    if (model !== "double" && model !== "secret")
      throw new LongshoreError("unknown-model", "resolve", `there is no model '${model}' here`);
  },
  unload: async () => undefined,
  head: async ({ model }) =>
    model === "double" || model === "secret" ? { digest: "sha256:abc", bytes: Uint8Array.of(1) } : undefined,
};

/** A server on which every mechanism gives the same rights. */
async function server(rights: readonly Right[], tenants = ""): Promise<Handler> {
  const list = `[${rights.map((right) => `"${right}"`).join(", ")}]`;
  const configuration = parseIdentity(`
certificates: [{ uri: "spiffe://store.example/till", tenant: acme, rights: ${list} }]
tokens: [{ issuer: i, audience: a, keySet: k, tenant: acme, rights: ${list} }]
keys: { file: keys.json }
loopback: { tenant: acme, rights: ${list} }
${tenants}
`);
  const jwks = new TextEncoder().encode(JSON.stringify({ keys: [await exportJWK(issuer.publicKey)] }));
  const made = createIdentify({
    configuration,
    clock,
    report: () => undefined,
    loadKeySet: async () => jwks,
  });
  const hasher = await keyHasher(new Uint8Array(32));
  const record = { id: key.id, hash: await hasher.hash(key.text), tenant: "acme", rights, createdMs: 0 };
  const ofBeta = { ...record, id: others.id, hash: await hasher.hash(others.text), tenant: "beta" };
  made.keys.replace(
    new Map([
      [record.id, record],
      [ofBeta.id, ofBeta],
    ]),
    hasher,
  );
  const run = () => tensorsOf(float32Tensor("y", [1, 3], new Float32Array(3)));
  return createHandler({
    endpoint: doubleEndpoint([
      { description: doubleDescription({ name: "double" }), run },
      { description: doubleDescription({ name: "secret" }), run },
    ]),
    codecs: codecSet(rawCodec),
    clock,
    observer: silentObserver,
    repository,
    modelControl: true,
    directory: createRegistry({
      clock: manualClock(),
      instance: "i",
      codecs: ["raw"],
      admits: { zone: "eu", trust: "listed" },
    }),
    leases: createAllowanceLeases(new LocalAllowances(() => ({ tenants: {} }), manualClock()), manualClock()),
    rollouts: {
      find: () => undefined,
      list: () => [],
      change: async () => undefined,
      follow: () => undefined,
      ended: () => undefined,
      compared: () => undefined,
    },
    identify: made.identify,
  });
}

async function answer(
  handler: Handler,
  request: WireRequest,
): Promise<{ status: number; reason: string; text: string; challenge: string | undefined }> {
  const { status, headers, body } = await handler(request, housekeepingCall("test"));
  const text = new TextDecoder().decode(await readBody(body, { maxBytes: 2 ** 20 }));
  const reason = status === 200 ? "" : ((JSON.parse(text || "{}") as { reason?: string }).reason ?? "");
  return { status, reason, text, challenge: headers["www-authenticate"] };
}

const token = (): Promise<string> =>
  new SignJWT({ iss: "i", aud: "a", exp: clock.wallMs() / 1000 + 3600 })
    .setProtectedHeader({ alg: "ES256" })
    .sign(issuer.privateKey);

type Credentials = Pick<WireRequest, "headers" | "peer">;

async function mechanisms(): Promise<readonly (readonly [string, Credentials])[]> {
  return [
    ["key", { headers: { authorization: `Bearer ${key.text}` }, peer: away }],
    ["token", { headers: { authorization: `Bearer ${await token()}` }, peer: away }],
    ["certificate", { headers: {}, peer: certified }],
    ["loopback", { headers: {}, peer: local }],
  ];
}

/** The right and the surface of each path, stated apart from the code. */
const expectations: readonly (readonly [RegExp, Right | "none" | "any", Surface | "all"])[] = [
  [/^\/v2\/health\/|^\/(?:healthz|livez|readyz)$/, "none", "all"],
  [/^\/v2\/?$/, "any", "all"],
  [/^\/v2\/openapi\.json$/, "any", "all"],
  [/\/segments\//, "segment:infer", "data"],
  [/\/head\//, "head:read", "data"],
  [/^\/v2\/repository\//, "manage", "manage"],
  [/^\/v2\/logging$/, "manage", "manage"],
  [/\/trace\/setting$/, "manage", "manage"],
  [/sharedmemory\//, "manage", "manage"],
  [/\/package$|^\/v2\/packages\//, "model:read", "data"],
  [/^\/v2\/directory$/, "directory:read", "data"],
  [/^\/v2\/directory\//, "directory:join", "data"],
  [/^\/v2\/rollouts/, "manage", "manage"],
  [/^\/metrics$/, "observe", "observe"],
  [/^\/v2\/(?:models\/|probe$)/, "infer", "data"],
];

interface Path {
  readonly method: "GET" | "POST";
  readonly path: string;
  readonly right: Right | "none" | "any";
  readonly surface: Surface | "all";
}

function filled(template: string, model: string): string {
  return template
    .replace("{model}", model)
    .replace("{version}", "1")
    .replace("{variant}", "default")
    .replace("{from}", "c1")
    .replace("{to}", "end")
    .replace("{region}", "r")
    .replace("{package}", "sha256:0")
    .replace("{file}", "sha256:1");
}

const paths: readonly Path[] = wireRoutes.map(({ method, path: template }) => {
  const path = filled(template, "double");
  const found = expectations.find(([pattern]) => pattern.test(path));
  if (!found) throw new Error(`nothing is expected of ${path}`);
  return { method, path, right: found[1], surface: found[2] };
});

const kindsOfSurfaces: readonly (readonly Surface[] | undefined)[] = [
  undefined,
  ["data"],
  ["manage"],
  ["observe"],
  ["data", "observe"],
];

describe("the gate", () => {
  it.each(allRights.map((right) => [right]))(
    "lets the right '%s' through where it is needed and served, by any mechanism",
    async (right) => {
      const handler = await server([right]);
      for (const [mechanism, credentials] of await mechanisms()) {
        for (const surfaces of kindsOfSurfaces) {
          for (const { method, path, right: needed, surface } of paths) {
            const where = `${mechanism} ${method} ${path} on ${surfaces?.join() ?? "all"}`;
            const request = {
              method,
              path,
              body: emptyBody,
              ...credentials,
              ...(surfaces ? { surfaces } : {}),
            };
            const { reason } = await answer(handler, request);
            const served = surface === "all" || surfaces === undefined || surfaces.includes(surface);
            const permitted = needed === "none" || needed === "any" || needed === right;
            if (!served) expect(reason, where).toBe("unknown-route");
            else if (!permitted) expect(reason, where).toBe("not-permitted");
            else expect(["unauthenticated", "not-permitted", "unknown-route"], where).not.toContain(reason);
          }
        }
      }
    },
  );

  it("tells an anonymous caller health alone, and refuses all else in the same way", async () => {
    const handler = await server(allRights);
    const told = new Set<string>();
    const strange = [
      "/",
      "/v2/nothing",
      "/v2/models/none",
      "/v2/models/%2e%2e/infer",
      "/v2/models/double/nothing",
      "*",
    ];
    const all = [...paths, ...strange.map((path) => ({ method: "GET" as const, path, right: "infer" }))];
    for (const { method, path, right } of all) {
      for (const surfaces of kindsOfSurfaces) {
        const request = {
          method,
          path,
          headers: {},
          peer: away,
          body: emptyBody,
          ...(surfaces ? { surfaces } : {}),
        };
        const { status, text, challenge } = await answer(handler, request);
        if (right === "none") {
          expect(status, path).toBe(200);
        } else {
          expect([status, challenge], path).toEqual([401, 'Bearer realm="longshore"']);
          told.add(text);
        }
      }
    }
    expect([...told]).toEqual([
      '{"error":"this needs credentials, and there are none","reason":"unauthenticated","stage":"identify"}',
    ]);
  });

  it("has no other way in: spellings of a path are no paths", async () => {
    const handler = await server(["infer"]);
    const spellings = [
      "/metrics/",
      "//metrics",
      "/./metrics",
      "/v2/../metrics",
      "/METRICS",
      "/%6detrics",
      "/metrics%00",
      "/metrics;x",
      "metrics",
      "http://127.0.0.1/metrics",
      "/v2/repository/models/double/load/",
      "/v2//repository/models/double/load",
      "/v2/repository/models/double/%6coad",
      "/V2/repository/models/double/load",
      "/v2/models/../repository/models/double/load",
      "/v2/models/double%2f..%2f..%2frepository/load",
      "/v2/models/double/versions/1/variants/default/head%2fc1",
      "/v2/models/double/infer/../../../repository/index",
    ];
    const override = {
      "x-http-method-override": "POST",
      "x-original-url": "/metrics",
      "x-rewrite-url": "/metrics",
    };
    for (const path of spellings) {
      for (const method of ["GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS"] as const) {
        const headers = { authorization: `Bearer ${key.text}`, ...override };
        const { status } = await answer(handler, { method, path, headers, peer: away, body: emptyBody });
        expect(status, `${method} ${path}`).toBeGreaterThanOrEqual(400);
      }
    }
  });
});

describe("models of others", () => {
  const seeing = `tenants: { acme: { models: [double] }, beta: {} }`;

  it("look on every path as if they were not there", async () => {
    const handler = await server(allRights, seeing);
    const body = { kind: "parts", parts: [new TextEncoder().encode("{}")] } as const;
    for (const { method, path: template } of wireRoutes.filter(({ path }) => path.includes("{model}"))) {
      for (const [mechanism, credentials] of await mechanisms()) {
        const ask = (model: string) =>
          answer(handler, { method, path: filled(template, model), body, ...credentials });
        const [hidden, absent] = [await ask("secret"), await ask("absent")];
        expect(
          { ...hidden, text: hidden.text.replaceAll("secret", "absent") },
          `${mechanism} ${template}`,
        ).toEqual(absent);
        expect(hidden.status).toBeGreaterThanOrEqual(400);
      }
    }
  });

  it("are not in the index, and neither are their counters", async () => {
    const everything = await server(allRights);
    const some = await server(allRights, seeing);
    const credentials = { headers: { authorization: `Bearer ${key.text}` }, peer: away };
    const index = { method: "POST", path: "/v2/repository/index", body: emptyBody, ...credentials } as const;
    expect((await answer(everything, index)).text).toContain("secret");
    expect((await answer(some, index)).text).not.toContain("secret");
    expect((await answer(some, index)).text).toContain("double");
  });

  it("are counted for a caller with the right to observe, and for others over their own requests", async () => {
    const handler = await server(["infer"]);
    const observing = await server(["infer", "observe"]);
    const body = {
      kind: "parts",
      parts: [
        new TextEncoder().encode('{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2,3]}]}'),
      ],
    } as const;
    const as = (text: string) => ({ headers: { authorization: `Bearer ${text}` }, peer: away });
    const counts = async (on: Handler, text: string, path: string): Promise<number | undefined> => {
      const { text: json } = await answer(on, { method: "GET", path, body: emptyBody, ...as(text) });
      const { model_stats: stats } = JSON.parse(json) as {
        model_stats: { name: string; inference_count: number }[];
      };
      return stats.find(({ name }) => name === "double")?.inference_count;
    };
    for (const on of [handler, observing]) {
      for (const path of ["/v2/models/double/infer", "/v2/models/double/infer"]) {
        expect((await answer(on, { method: "POST", path, body, ...as(key.text) })).status).toBe(200);
      }
    }
    expect(await counts(handler, key.text, "/v2/models/double/stats")).toBe(2);
    expect(await counts(handler, key.text, "/v2/models/stats")).toBe(2);
    expect(await counts(handler, others.text, "/v2/models/double/stats")).toBe(0);
    expect(await counts(handler, others.text, "/v2/models/stats")).toBeUndefined();
    expect(await counts(observing, others.text, "/v2/models/double/stats")).toBe(2);
    expect(await counts(observing, others.text, "/v2/models/stats")).toBe(2);
  });
});
