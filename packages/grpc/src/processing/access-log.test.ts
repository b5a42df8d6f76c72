import { BinaryWriter, WireType } from "@bufbuild/protobuf/wire";
import { housekeepingCall } from "@longshore/core/internal";
import { expect, it } from "vitest";
import { accessLog, type LoggedRequest } from "./access-log.ts";

const peer = { address: "10.0.0.7", loopback: false };

/** A field with a text, a message, or a number. */
type Field = readonly [number, string | number | readonly Field[]];

function message(...fields: readonly Field[]): Uint8Array {
  const writer = new BinaryWriter();
  for (const [number, value] of fields) {
    if (typeof value === "number") writer.tag(number, WireType.Varint).uint64(BigInt(value));
    else if (typeof value === "string") writer.tag(number, WireType.LengthDelimited).string(value);
    else writer.tag(number, WireType.LengthDelimited).bytes(message(...value));
  }
  return writer.finish();
}

const entryOfMap = (key: string, value: string | readonly Field[]): readonly Field[] => [
  [1, key],
  [2, value],
];

const named = (name: string): readonly Field[] => [
  [17, [[1, entryOfMap("longshore.pick", [[1, entryOfMap("request", [[3, name]])]])]]],
];

/** The requests that a log of these messages reports. */
async function read(...messages: readonly Uint8Array[]) {
  const seen: LoggedRequest[] = [];
  const service = accessLog({
    namespace: "longshore.pick",
    logged: (request) => void seen.push(request),
  });
  const left = [...messages];
  const failed = await service.methods["StreamAccessLogs"]!({
    headers: {},
    peer,
    call: housekeepingCall("c"),
    draining: new AbortController().signal,
    next: async () => left.shift(),
    send: async () => undefined,
  }).catch((thrown: unknown) => thrown);
  return { seen, failed };
}

it("reports status, server, time and headers of requests with metadata, and skips others", async () => {
  const common: readonly Field[] = [
    [2, [[1, [[2, "10.0.0.9"]]]]],
    [7, [[2, 3_000_000]]],
    [
      9,
      [
        [1, 1],
        [2, 53_000_000],
      ],
    ],
    [
      13,
      [
        [
          1,
          [
            [2, "fd00::1"],
            [3, 8000],
          ],
        ],
      ],
    ],
    [16, [[4, 1]]],
    ...named("ab 1"),
  ];
  const response: readonly Field[] = [
    [1, [[1, 200]]],
    [3, 17],
    [4, entryOfMap("Longshore-Load", "cpu=0.5")],
    [6, "via_upstream"],
  ];
  const entry: Field = [
    1,
    [
      [1, common],
      [2, 2],
      [4, response],
    ],
  ];
  const identifier: Field = [1, [[2, "longshore-pick"]]];
  const other: Field = [1, [[1, [[17, [[1, entryOfMap("another", [])]]]]]]];
  const { seen, failed } = await read(
    message(identifier, [2, [entry, other]]),
    message([2, [[1, [[1, [[16, [[15, 1]]], ...named("ab 2")]]]]]]),
  );
  expect(failed).toBeUndefined();
  expect(seen).toEqual([
    {
      metadata: { request: "ab 1" },
      status: 200,
      details: "via_upstream",
      cancelled: false,
      upstream: "[fd00::1]:8000",
      tookMs: 1050,
      headers: { "longshore-load": "cpu=0.5" },
    },
    {
      metadata: { request: "ab 2" },
      status: 0,
      details: "",
      cancelled: true,
      upstream: undefined,
      tookMs: undefined,
      headers: {},
    },
  ]);
});

it("takes a text that is too long for empty", async () => {
  const response: readonly Field[] = [[4, entryOfMap("longshore-load", "x".repeat(70_000))]];
  const { seen } = await read(
    message([
      2,
      [
        [
          1,
          [
            [1, named("ab 1")],
            [4, response],
          ],
        ],
      ],
    ]),
  );
  expect(seen[0]?.headers).toEqual({ "longshore-load": "" });
});

it("ends a log that is no protobuf", async () => {
  const good = message([2, [[1, [[1, named("ab 1")]]]]]);
  for (const bytes of [good.subarray(0, good.byteLength - 1), new Uint8Array([0x12, 0xff]), raw(0x13)]) {
    const { failed } = await read(good, bytes);
    expect(failed).toMatchObject({ reason: "invalid-input" });
  }
});

function raw(...bytes: readonly number[]): Uint8Array {
  return new Uint8Array(bytes);
}

it("ends when the server drains, without a message", async () => {
  const draining = new AbortController();
  const reading = accessLog({
    namespace: "longshore.pick",
    logged: () => undefined,
  }).methods["StreamAccessLogs"]!({
    headers: {},
    peer,
    call: housekeepingCall("c"),
    draining: draining.signal,
    next: () => new Promise(() => undefined),
    send: async () => undefined,
  });
  draining.abort();
  await expect(reading).resolves.toBeUndefined();
});
