import { expect, it } from "vitest";
import { identityServeOptions } from "./identity-options.ts";

const usual = { insecureNoIdentity: false, clientCert: "required", manageHost: "127.0.0.1" } as const;

it("takes origins of pages as browsers send them, and refuses anything else by name", () => {
  const pages = (text: string): unknown => identityServeOptions({ ...usual, pages: text }).pages;
  expect(identityServeOptions(usual)).not.toHaveProperty("pages");
  expect(pages("https://a.example, http://127.0.0.1:8080")).toEqual([
    "https://a.example",
    "http://127.0.0.1:8080",
  ]);
  expect(pages("*")).toBe("*");
  for (const wrong of [
    "a.example",
    "https://a.example/",
    "https://*.example",
    "https://A.example",
    "null",
    "",
  ]) {
    expect(() => pages(wrong)).toThrow(
      expect.objectContaining({ reason: "invalid-input", message: expect.stringContaining(`'${wrong}'`) }),
    );
  }
});
