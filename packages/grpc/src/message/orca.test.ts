import fc from "fast-check";
import { expect, it } from "vitest";
import type { LongshoreError } from "@longshore/core";
import { orcaHeader, readLoadHeaders } from "@longshore/core/internal";
import { encodeOrca, orcaJson } from "./index.ts";
import { Writer } from "./writer.ts";

const loadIn = (bytes: Uint8Array) => readLoadHeaders({ [orcaHeader]: orcaJson(bytes) }, 7);

/** A report with more in it than we write. */
function foreign(): Uint8Array {
  const writer = new Writer();
  const double = (field: number, value: number): void => {
    writer.tag(field, 1);
    writer.double(value);
  };
  double(1, 0.5);
  double(2, 0.9);
  writer.tag(3, 0);
  writer.varint(12);
  for (const [field, name, value] of [
    [4, "in_flight", 99],
    [5, "queue_ms", 99],
    [8, "num_requests_running", 2],
    [8, "num_requests_waiting", 3],
  ] as const) {
    writer.nested(field, () => {
      writer.text(1, name);
      writer.tag(2, 1);
      writer.double(value);
    });
  }
  double(9, 0.75);
  return writer.slice(0, writer.at);
}

it("reads back its own output", () => {
  const load = { atMs: 7, cpuRatio: 0.25, inFlight: 3, queueMs: 12.5 };
  expect(loadIn(encodeOrca(load))).toEqual(load);
});

it("reads the report of another server: an application's figures before its processor, and its requests", () => {
  expect(loadIn(foreign())).toEqual({ atMs: 7, cpuRatio: 0.75, inFlight: 5, queueMs: 0 });
  expect(loadIn(new Uint8Array(0))).toBeUndefined();
});

it("refuses a figure that is cut, and takes names of any length", () => {
  expect(() => orcaJson(Uint8Array.of(9, 0, 0))).toThrow(/./);
  const writer = new Writer(64);
  writer.tag(1, 1);
  writer.double(0.5);
  writer.nested(8, () => writer.text(1, "n".repeat(300)));
  expect(loadIn(writer.slice(0, writer.at))).toMatchObject({ cpuRatio: 0.5 });
});

it("refuses random and cut bytes with a reason, and never otherwise", () => {
  const seed = foreign();
  const cut = fc.nat(seed.length).map((length) => seed.slice(0, length));
  const changed = fc
    .tuple(fc.nat(seed.length - 1), fc.nat(255))
    .map(([at, value]) => seed.map((byte, index) => (index === at ? value : byte)));
  fc.assert(
    fc.property(fc.oneof(fc.uint8Array({ maxLength: 100 }), cut, changed), (bytes) => {
      try {
        loadIn(bytes);
      } catch (thrown) {
        expect((thrown as LongshoreError).reason).toBe("invalid-input");
      }
    }),
    { numRuns: 2000 },
  );
});

it("writes what the message in protobuf says, whatever the figures", () => {
  const double = fc.double({ noNaN: true });
  fc.assert(
    fc.property(double, double, double, double, (cpuRatio, perSecond, inFlight, queueMs) => {
      const writer = new Writer();
      writer.tag(1, 1);
      writer.double(cpuRatio);
      writer.tag(6, 1);
      writer.double(perSecond);
      for (const [name, value] of [
        ["in_flight", inFlight],
        ["queue_ms", queueMs],
      ] as const) {
        writer.nested(8, () => {
          writer.text(1, name);
          writer.tag(2, 1);
          writer.double(value);
        });
      }
      expect(encodeOrca({ atMs: 0, cpuRatio, inFlight, queueMs }, perSecond)).toEqual(
        writer.slice(0, writer.at),
      );
    }),
  );
});
