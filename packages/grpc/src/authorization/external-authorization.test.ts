import { create, fromBinary, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { housekeepingCall } from "@longshore/core/internal";
import { expect, it } from "vitest";
import { CheckRequestSchema, CheckResponseSchema } from "../proto/external_auth_pb.ts";
import { type CheckedRequest, type CheckResult, externalAuthorization } from "./external-authorization.ts";

async function check(message: MessageInitShape<typeof CheckRequestSchema> | Uint8Array, result: CheckResult) {
  const seen: CheckedRequest[] = [];
  const sent: Uint8Array[] = [];
  const service = externalAuthorization({
    check: async (request) => {
      seen.push(request);
      return result;
    },
  });
  const bytes =
    message instanceof Uint8Array
      ? message
      : toBinary(CheckRequestSchema, create(CheckRequestSchema, message));
  const messages = [bytes];
  await service.methods["Check"]!({
    headers: {},
    peer: { address: "127.0.0.1", loopback: true },
    call: housekeepingCall("c"),
    draining: new AbortController().signal,
    next: async () => messages.shift(),
    send: async (answer) => void sent.push(answer),
  });
  return { seen, response: sent[0] && fromBinary(CheckResponseSchema, sent[0]) };
}

const allowed: CheckResult = {
  allowed: true,
  headers: { "longshore-tenant": "acme" },
  removed: ["authorization"],
};

it("reads a request with its source, and tells what it gains and loses", async () => {
  const { seen, response } = await check(
    {
      attributes: {
        source: { address: { socketAddress: { address: "10.0.0.9", portValue: 1 } } },
        request: {
          http: {
            id: "7",
            method: "POST",
            path: "/v2/models/m/infer?x=1",
            host: "models.example",
            headers: { ":method": "POST", "X-Api-Key": "k" },
          },
        },
      },
    },
    allowed,
  );
  expect(seen).toEqual([
    {
      id: "7",
      method: "POST",
      path: "/v2/models/m/infer?x=1",
      headers: { host: "models.example", "x-api-key": "k" },
      source: "10.0.0.9",
    },
  ]);
  expect(response).toMatchObject({
    status: { code: 0 },
    httpResponse: {
      case: "okResponse",
      value: {
        headers: [{ header: { key: "longshore-tenant", value: "acme" }, appendAction: 2 }],
        headersToRemove: ["authorization"],
      },
    },
  });
});

it("joins headers that come raw and repeated", async () => {
  const raw = (text: string): Uint8Array => new TextEncoder().encode(text);
  const headers = [
    { key: "authorization", rawValue: raw("Bearer a") },
    { key: "Authorization", rawValue: raw("Bearer b") },
  ];
  const http = { method: "GET", path: "/v2", headerMap: { headers } };
  const { seen } = await check({ attributes: { request: { http } } }, allowed);
  expect(seen[0]?.headers).toEqual({ authorization: "Bearer a, Bearer b" });
});

it("denies with status, headers and words", async () => {
  const { response } = await check(
    { attributes: { request: { http: { method: "GET", path: "/" } } } },
    { allowed: false, code: 8, status: 429, headers: { "retry-after": "1" }, body: "{}" },
  );
  expect(response).toMatchObject({
    status: { code: 8 },
    httpResponse: { case: "deniedResponse", value: { status: { code: 429 }, body: "{}" } },
  });
});

it("refuses messages that hold no request", async () => {
  for (const message of [
    {},
    { attributes: { request: { http: { method: "GET", path: "v2" } } } },
    { attributes: { request: { http: { path: "/v2" } } } },
    new Uint8Array([255, 255, 255, 255]),
  ]) {
    await expect(check(message, allowed)).rejects.toMatchObject({ reason: "invalid-input" });
  }
});
