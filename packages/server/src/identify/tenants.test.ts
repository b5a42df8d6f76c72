import { expect, it } from "vitest";
import { parseIdentity } from "./configuration.ts";
import { weightOf } from "./tenants.ts";

it("a tenant's share is the file's, else that of unnamed tenants, else 1", () => {
  const { tenants } = parseIdentity(
    'anonymous: { rights: [infer] }\ntenants: { acme: { weight: 3 }, plain: {}, "*": { weight: 0.5 } }',
  );
  expect(["acme", "plain", "other", "toString"].map((tenant) => weightOf(tenants, tenant))).toEqual([
    3, 1, 0.5, 0.5,
  ]);
  expect(weightOf(undefined, "acme")).toBe(1);
  expect(() =>
    parseIdentity("anonymous: { rights: [infer] }\ntenants: { anonymous: { weight: 0 } }"),
  ).toThrow(expect.objectContaining({ reason: "invalid-configuration" }) as Error);
});
