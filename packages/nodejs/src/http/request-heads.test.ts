import { expect, it } from "vitest";
import { requestHead } from "./plain-head.ts";
import { RequestHeads } from "./request-heads.ts";

const host = "edge:8000";

it("writes what is written without it, whatever was asked before", () => {
  const heads = new RequestHeads(host);
  const asked = [
    ["POST", "/v2", { a: "1", b: "2" }, 5],
    ["POST", "/v2", { a: "1", b: "2" }, 5],
    ["POST", "/v2", { a: "1", b: "2" }, 6],
    ["GET", "/v2", { a: "1", b: "2" }, undefined],
    ["POST", "/v2", { a: "1" }, 5],
    ["POST", "/v2", { a: "1", b: "2" }, 5],
    ["POST", "/v2", { a: "1", b: "3" }, 5],
    ["POST", "/v2", { a: "1", c: "3" }, 5],
    ["POST", "/v2", { b: "3", a: "1" }, 5],
    ["POST", "/v2/b", { b: "3", a: "1" }, 5],
    ["POST", "/v2", { a: "1", b: "2", c: "" }, 0],
    ["POST", "/v2", {}, 0],
  ] as const;
  for (const [method, path, headers, bytes] of [...asked, ...asked]) {
    const given = heads.of(method, path, headers as Record<string, string>, bytes);
    expect(given?.toString("latin1")).toBe(requestHead(method, path, host, headers, bytes));
  }
});

it("gives the very bytes of the request before where nothing differs", () => {
  const heads = new RequestHeads(host);
  const first = heads.of("POST", "/v2", { a: "1" }, 5);
  expect(heads.of("POST", "/v2", { a: ["1"].join("") }, 5)).toBe(first);
  for (let other = 0; other < 300; other++) heads.of("POST", `/v2/${other}`, { a: "1" }, 5);
  expect(heads.of("POST", "/v2", { a: "1" }, 5)).not.toBe(first);
});

it("writes nothing that is not plain, and remembers nothing of it", () => {
  const heads = new RequestHeads(host);
  expect(heads.of("POST", "/v2", { a: "1\r\nb: 2" }, 5)).toBeUndefined();
  expect(heads.of("POST", "/v2", { a: "1\r\nb: 2" }, 5)).toBeUndefined();
  expect(heads.of("POST", "/v2", { host: "other" }, 5)).toBeUndefined();
});
