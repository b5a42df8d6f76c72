/**
 * The inputs of identity from strangers and operators: credentials in headers, client certificates' names, `identity.yaml`,
 * keys.
 */
import { emptyBody, LongshoreError } from "@longshore/core";
import { systemClock } from "@longshore/nodejs";
import { createIdentify, keyHasher, newApiKey, parseIdentity, parseKeyFile, writeKeyFile } from "@longshore/server"; // prettier-ignore

const encoder = new TextEncoder();
const bytesOf = (text) => encoder.encode(text);
const base64url = (bytes) => Buffer.from(bytes).toString("base64url");

async function outcomeOf(read) {
  try {
    await read();
    return "taken";
  } catch (thrown) {
    if (LongshoreError.is(thrown) && thrown.reason !== "internal") return thrown.reason;
    throw thrown;
  }
}

const yaml = [
  "order: [certificates, tokens, keys, loopback, anonymous]\ncertificates:\n  - { uri: \"spiffe://store.example/edge/*\", tenant: edge, rights: [infer, 'segment:infer'], speaksFor: [acme] }\n  - { fingerprint: " + "ab".repeat(32) + ", tenant: pinned, rights: [observe] }\ntokens:\n  - { issuer: i, audience: [a, b], keySet: { from: k.json, keepMs: 5000 }, tenant: { claim: [x, y] }, rights: { claim: scope, grants: { w: [infer] } }, algorithms: [ES256], clockSkewMs: 5 }\nkeys: { file: keys.json, pepper: p }\nloopback: { rights: [manage] }\nanonymous: { tenant: guests, rights: [infer] }\ntenants: { edge: { models: [ocr, \"till-*\"] }, '*': { rights: [infer] } }\nfailuresPerMinute: 5\n", // prettier-ignore
  "anonymous: { rights: [infer] }\n",
].map(bytesOf);

const key = newApiKey();
const hasher = await keyHasher(new Uint8Array(32));
/** @type {import("@longshore/server").KeyRecord} */
const record = {
  id: key.id,
  hash: await hasher.hash(key.text),
  tenant: "acme",
  rights: ["infer"],
  createdMs: 0,
};
const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, [
  "sign",
  "verify",
]);
const jwk = await crypto.subtle.exportKey("jwk", pair.publicKey);
const signed = `${base64url(bytesOf('{"alg":"ES256","kid":"k"}'))}.${base64url(bytesOf('{"iss":"i","aud":"a","exp":4102444800,"sub":"alice","tenant":"acme","scope":"infer"}'))}`; // prettier-ignore
const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, bytesOf(signed)); // prettier-ignore
const token = `${signed}.${base64url(new Uint8Array(signature))}`;

/** Header lines; a line `certificate:` stands for the URI names of a verified certificate. */
const shown = [
  `authorization: Bearer ${key.text}\n`,
  `x-api-key: ${key.text}\n`,
  `authorization: Bearer ${token}\n`,
  "certificate: spiffe://store.example/till\n",
  `certificate: spiffe://store.example/till\nlongshore-tenant: acme\nlongshore-rights: infer\nauthorization: Bearer ${token}\n`,
].map(bytesOf);

/** @returns {import("@longshore/core").WireRequest} */
function requestOf(bytes) {
  const lines = new TextDecoder().decode(bytes).split("\n").map((line) => line.split(/:\s*(.*)/s, 2)); // prettier-ignore
  const headers = Object.fromEntries(
    lines.filter(([name]) => name).map(([name = "", value = ""]) => [name.toLowerCase(), value]),
  );
  const uris = lines.filter(([name]) => name === "certificate").map(([, value = ""]) => value);
  const certificate = { verified: true, fingerprint: "cd".repeat(32), subject: "", uris };
  const peer = { address: "192.0.2.7", loopback: false, ...(uris.length > 0 ? { certificate } : {}) };
  return { method: "GET", path: "/v2", headers, body: emptyBody, peer };
}

/** The targets by name. */
export const identityTargets = {
  credentials: {
    seeds: shown,
    dictionary: ["authorization: ", "x-api-key: ", "Bearer ", "lsk_", "eyJ", ".", ",", "longshore-tenant: ", "longshore-rights: ", "certificate: ", "spiffe://", "/../", "acme", "segment:infer", base64url(bytesOf('{"alg":"none"}')), base64url(bytesOf('{"alg":"HS256","kid":"k"}'))], // prettier-ignore
    async open() {
      const configuration = parseIdentity(
        "certificates: [{ uri: 'spiffe://store.example/till', tenant: acme, rights: [infer] }]\ntokens: [{ issuer: i, audience: a, keySet: k, tenant: { claim: tenant }, rights: { claim: scope } }]\nkeys: { file: k }\nfailuresPerMinute: 100000\n",
      );
      const jwks = bytesOf(JSON.stringify({ keys: [{ ...jwk, kid: "k" }] }));
      const { identify, keys } = createIdentify({ configuration, clock: systemClock(), report: () => undefined, loadKeySet: async () => jwks }); // prettier-ignore
      keys.replace(new Map([[record.id, record]]), hasher);
      return {
        run: (bytes) =>
          outcomeOf(async () => {
            const { tenant, rights, known } = await identify(requestOf(bytes));
            if (known === false && rights.size === 0) return;
            // For any mutation, no sender becomes another.
            if (tenant !== "acme" || [...rights].some((right) => right !== "infer")) {
              throw new Error(`taken for ${tenant} with ${[...rights].join()}`);
            }
          }),
      };
    },
  },
  "identity.yaml": {
    seeds: yaml,
    dictionary: ["order: ", "certificates:", "tokens:", "- ", "{ ", "} ", "&a ", "*a", "<<: ", "!!js/function ", "tenant: ", "rights: [infer]", "claim: ", "grants: ", "algorithms: [none]", "'*': ", "spiffe://a/*"], // prettier-ignore
    open: async () => ({
      run: (bytes) => outcomeOf(() => parseIdentity(new TextDecoder().decode(bytes))),
    }),
  },
  "keys.json": {
    seeds: [
      bytesOf(
        writeKeyFile([record, { ...record, id: "0".repeat(16), note: "n", expiresMs: 1, revokedMs: 2 }]),
      ),
    ],
    dictionary: [
      '"keys"',
      '"id"',
      '"hash"',
      '"rights"',
      '"expires"',
      "2026-01-01T00:00:00.000Z",
      "null",
      "[",
      "{",
    ],
    open: async () => ({
      run: (bytes) => outcomeOf(() => parseKeyFile(new TextDecoder().decode(bytes))),
    }),
  },
};
