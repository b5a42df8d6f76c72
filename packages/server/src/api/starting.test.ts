import {
  codecSet,
  emptyBody,
  type Handler,
  rawCodec,
  silentObserver,
  type WireRequest,
} from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { doubleEndpoint, manualClock } from "@longshore/testkit";
import { expect, it } from "vitest";
import { createLife, type Life } from "../life/index.ts";
import { createHandler } from "./handler.ts";

function api(): { readonly handler: Handler; readonly life: Life } {
  const life = createLife();
  const handler = createHandler({
    endpoint: doubleEndpoint([]),
    life,
    codecs: codecSet(rawCodec),
    clock: manualClock(),
    observer: silentObserver,
  });
  return { handler, life };
}

async function ask(handler: Handler, request: Pick<WireRequest, "method" | "path">) {
  const { status, headers, body } = await handler(
    { ...request, headers: {}, body: emptyBody },
    housekeepingCall("test"),
  );
  const text = body.kind === "parts" ? Buffer.concat(body.parts).toString() : "";
  const { reason } = JSON.parse(text) as { reason: string };
  return [status, reason, headers["retry-after"]];
}

it.each([
  { method: "GET", path: "/v2/models/ocr" },
  { method: "GET", path: "/v2/models/ocr/versions/3/offers" },
  { method: "POST", path: "/v2/models/ocr/infer" },
] as const)(
  "a model that is not here yet is no unknown one while the server starts: $method $path",
  async (request) => {
    const { handler, life } = api();
    expect(await ask(handler, request)).toEqual([503, "starting", "1"]);
    life.ready();
    expect(await ask(handler, request)).toEqual([404, "unknown-model", undefined]);
  },
);

it("a model that was tried in vain is unknown, though the server is not ready", async () => {
  const { handler, life } = api();
  life.loaded();
  expect(await ask(handler, { method: "GET", path: "/v2/models/ocr" })).toEqual([
    404,
    "unknown-model",
    undefined,
  ]);
});
