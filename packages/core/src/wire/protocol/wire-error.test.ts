import { expect, it } from "vitest";
import { LongshoreError } from "../../words/base/index.ts";
import { withoutAddresses, writeWireError } from "./wire-error.ts";

it.each([
  ["no answer of 127.0.0.1:18301", "no answer of a server"],
  [
    "no connection to http://10.0.0.7:8000: connection refused",
    "no connection to a server: connection refused",
  ],
  ["[fe80::1]:8000 answered: full", "a server answered: full"],
  ["edge-1.store.internal:8000 and localhost:9 are away", "a server and a server are away"],
  ["model ocr version 1.2 takes 3:4 of input x", "model ocr version 1.2 takes 3:4 of input x"],
  ["no rule of de.yaml:5 names the class", "no rule of de.yaml:5 names the class"],
  ["none (10.0.0.1:80: too dear; 10.0.0.2:80: too dear)", "none (each server: too dear)"],
  ["none (10.0.0.1:80: too dear; 10.0.0.2:80: away)", "none (a server: too dear; a server: away)"],
  ["edge-1 answered: the queue is full", "edge-1 answered: the queue is full"],
])("hides the addresses of servers from callers: %s", (message, told) => {
  expect(withoutAddresses(message)).toBe(told);
});

it("writes no address into an error reply", () => {
  const error = new LongshoreError(
    "unreachable",
    "transport",
    "no connection to https://cloud.internal:8443",
  );
  const { bytes } = writeWireError(error, "1");
  expect(JSON.parse(new TextDecoder().decode(bytes))).toMatchObject({ error: "no connection to a server" });
});
