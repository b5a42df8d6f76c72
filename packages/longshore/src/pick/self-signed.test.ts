import { createPrivateKey, X509Certificate } from "node:crypto";
import { expect, it } from "vitest";
import { selfSigned } from "./self-signed.ts";

it("makes a certificate that its own key has signed, for its name and localhost, valid now", () => {
  const now = new Date("2026-12-01T08:00:00Z");
  const { certificate, key } = selfSigned("longshore-pick", now);
  const read = new X509Certificate(certificate);
  expect(read.verify(read.publicKey)).toBe(true);
  expect(read.checkPrivateKey(createPrivateKey(key))).toBe(true);
  expect(read.subject).toBe("CN=longshore-pick");
  expect(read.checkHost("localhost")).toBe("localhost");
  expect(new Date(read.validFrom).getTime()).toBeLessThan(now.getTime());
  expect(read.validTo).toContain("2036");
});

it("makes another key each time", () => {
  expect(selfSigned("a", new Date()).key).not.toBe(selfSigned("a", new Date()).key);
});
