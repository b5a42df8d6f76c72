import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { parseIdentity } from "./configuration.ts";

const issuer = `{ issuer: i, audience: a, keySet: k, tenant: acme, rights: [infer] }`;

describe("identity.yaml", () => {
  it("names mechanisms, tenants and an order, with the hardest to steal first", () => {
    const read = parseIdentity(`
anonymous: { rights: [infer] }
keys: { file: keys.json }
tokens: [${issuer}]
certificates: [{ uri: "spiffe://a/b/*", tenant: acme, rights: [infer, "segment:infer"] }]
tenants: { acme: { models: [ocr, "team-*"] }, "*": { models: [] } }
`);
    expect(read.order).toEqual(["certificates", "tokens", "keys", "anonymous"]);
    expect(read.tenants).toEqual({ acme: { models: ["ocr", "team-*"] }, "*": { models: [] } });
    expect(
      parseIdentity(
        "order: [anonymous, loopback]\nloopback: {rights: [manage]}\nanonymous: {rights: [infer]}",
      ).order,
    ).toEqual(["anonymous", "loopback"]);
  });

  it("is the guide's example", () => {
    const guide = readFileSync(new URL("../../../../docs/guides/identity.md", import.meta.url), "utf8");
    const blocks = [...guide.matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, text]) => text ?? "");
    expect(blocks.length).toBeGreaterThan(4);
    const whole: Readonly<Record<string, string>> = {
      certificates: "certificates: [{ uri: 'spiffe://a/b', tenant: acme, rights: [infer] }]",
      tokens: `tokens: [${issuer}]`,
      keys: "keys: { file: keys.json }",
    };
    for (const block of blocks) {
      // A block that shows a part is read with the rest that it speaks of.
      const missing = block.includes("order:") ? Object.values(whole) : [];
      const alone = /^(?:keys|tokens|certificates|anonymous):/m.test(block) ? [] : [whole["keys"] ?? ""];
      expect(() => parseIdentity([block, ...missing, ...alone].join("\n")), block).not.toThrow();
    }
  });

  const wrong: readonly [string, string, string][] = [
    ["nothing", "", "must be a mapping"],
    ["no mechanism", "tenants: {}", "names no mechanism"],
    ["a misspelt key", "anonymos: { rights: [infer] }", "anonymos is an unknown key"],
    ["a misspelt key inside", "keys: { file: a, peper: b }", "keys.peper is an unknown key"],
    ["a key of every object", "__proto__: { rights: [infer] }", "__proto__ is an unknown key"],
    ["an unknown right", "anonymous: { rights: [root] }", "must be a right"],
    ["no rights", "anonymous: { rights: [] }", "at least one right"],
    [
      "an algorithm for everybody",
      `tokens: [{ issuer: i, audience: a, keySet: k, tenant: t, rights: [infer], algorithms: [none] }]`,
      "tokens.0.algorithms.0",
    ],
    [
      "an HMAC",
      `tokens: [{ issuer: i, audience: a, keySet: k, tenant: t, rights: [infer], algorithms: [HS256] }]`,
      "tokens.0.algorithms.0",
    ],
    [
      "a token without audience",
      `tokens: [{ issuer: i, keySet: k, tenant: t, rights: [infer] }]`,
      "tokens.0.audience",
    ],
    [
      "a token of no tenant",
      `tokens: [{ issuer: i, audience: a, keySet: k, rights: [infer] }]`,
      "'tenant' and 'rights'",
    ],
    ["a certificate of any name", `certificates: [{ tenant: t, rights: [infer] }]`, "'uri' or 'fingerprint'"],
    [
      "a pattern over domains",
      `certificates: [{ uri: "spiffe://*", tenant: t, rights: [infer] }]`,
      "SPIFFE ID",
    ],
    [
      "a pattern in the middle",
      `certificates: [{ uri: "spiffe://a/*/b", tenant: t, rights: [infer] }]`,
      "SPIFFE ID",
    ],
    ["a tenant with a blank", "anonymous: { tenant: a b, rights: [infer] }", "anonymous.tenant"],
    [
      "a star in the middle",
      "anonymous: { rights: [infer] }\ntenants: { '*': { models: ['a*b'] } }",
      "at its end only",
    ],
    [
      "an order that leaves one out",
      "order: [keys]\nkeys: { file: a }\nanonymous: { rights: [infer] }",
      "order must name",
    ],
    ["an order that names one twice", "order: [keys, keys]\nkeys: { file: a }", "order must name"],
    [
      "an issuer of tokens that is named twice",
      `tokens:
  - { issuer: i, audience: one, keySet: k, tenant: a, rights: [infer] }
  - { issuer: i, audience: two, keySet: k, tenant: b, rights: [infer] }`,
      "tokens name the issuer 'i' twice",
    ],
    ["an order of what is not there", "order: [keys, loopback]\nkeys: { file: a }", "order must name"],
    [
      "a tenant that is not listed",
      "anonymous: { rights: [infer] }\ntenants: { acme: {} }",
      "'anonymous' is used but not listed",
    ],
    ["a key twice", "keys: { file: a }\nkeys: { file: b }", "not valid YAML"],
    ["an alias", "a: &x [infer]\nanonymous: { rights: *x }", "aliases"],
    ["a tag that runs code", "keys: !!js/function 'return 1'", "keys"],
    ["no YAML", "{", "not valid YAML"],
    ["too much", `# ${"x".repeat(1_000_001)}`, "more than"],
  ];
  it.each(wrong)("with %s is refused, and the message says where", (_name, text, message) => {
    expect(() => parseIdentity(text)).toThrow(
      expect.objectContaining({ reason: "invalid-configuration", message: expect.stringContaining(message) }),
    );
  });
});
