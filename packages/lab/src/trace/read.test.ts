import fc from "fast-check";
import { describe, expect, it } from "vitest";
import {
  meanBitsPerSecond,
  readArrivals,
  readColumn,
  readCsv,
  readMahimahi,
  readNumbers,
  readTwoColumns,
} from "./index.ts";

describe("readMahimahi", () => {
  it("counts repeated lines as several packets and loops at the end", () => {
    const trace = readMahimahi("t", "7\n7\n10\n\n");
    expect(trace.packets).toBe(3);
    expect(trace.lengthMs).toBe(10);
    expect([1, 2, 3, 4, 6, 7].map((position) => trace.instantOf(position))).toEqual([7, 7, 10, 17, 20, 27]);
    expect(trace.positionAt(7)).toBe(0);
    expect(trace.positionAt(8)).toBe(2);
  });

  it.each([
    ["", "line 1"],
    ["3\nx\n", "line 2"],
    ["3\n2\n", "line 2: the packet at 2 ms is before the last one, at 3 ms; sort the lines by time"],
    ["3\n4.5\n", "line 2"],
    ["-1\n", "line 1: the packet at -1 ms is before the beginning; each is at 0 ms or later"],
    ["0\n0\n", "line 1"],
    ["1\n2\n900000000000\n", "line 3: no entry for 900000000 s, more than a day: cut the quiet time out"],
  ])("refuses %j and names the line", (text, line) => {
    expect(() => readMahimahi("bad", text)).toThrow(
      expect.objectContaining({ reason: "invalid-input", message: expect.stringContaining(line) }),
    );
  });
});

describe("readTwoColumns", () => {
  it("holds a rate until the next entry, and the last for the mean step", () => {
    const trace = readTwoColumns("t", "10.0\t1\n11.0\t3\n12.0\t2\n");
    expect(trace.lengthMs).toBe(3000);
    expect(meanBitsPerSecond(trace)).toBeCloseTo(2e6, 3);
  });

  it.each([
    ["1 2 3\n", "line 1"],
    ["0 1\n5\n", "line 2"],
    ["0 1\n# note\n1 -2\n", "line 3"],
    ["2 1\n1 1\n", "line 2: the rate at 1 s is before the last one, at 2 s; sort the lines by time"],
    ["0 1\n1 1e30\n", "line 2"],
    ["0 1\n10 1\n1e9 1\n", "line 3"],
    ["", "line 1"],
  ])("refuses %j and names the line", (text, line) => {
    expect(() => readTwoColumns("bad", text)).toThrow(
      expect.objectContaining({ reason: "invalid-input", message: expect.stringContaining(line) }),
    );
  });
});

describe("readCsv", () => {
  const columns = { rate: "kbit", bitsPerSecondPerUnit: 1000, time: "at" };
  it("averages rows of one instant and reads time stamps", () => {
    const text = "at,kbit\n2020.02.14_13.21.26,10\n2020.02.14_13.21.26,30\n2020.02.14_13.21.27,40\n";
    const trace = readCsv("t", text, columns);
    expect(trace.lengthMs).toBe(2000);
    expect(meanBitsPerSecond(trace)).toBeCloseTo(30e3, 6);
  });

  it("keeps only the wanted rows", () => {
    const text = "at,kbit,net\n0,10,5G\n1,99,LTE\n2,10,5G\n";
    expect(meanBitsPerSecond(readCsv("t", text, { ...columns, where: { net: "5G" } }))).toBeCloseTo(10e3, 6);
  });

  it.each([
    ["", "line 1"],
    ["at,kbit\n1\n", "line 2"],
    ["at,kbit\n1,\n", "line 2"],
    ["at,at\n", "line 1"],
  ])("refuses %j and names the line", (text, line) => {
    expect(() => readCsv("bad", text, columns)).toThrow(
      expect.objectContaining({ reason: "invalid-input", message: expect.stringContaining(line) }),
    );
  });
});

it("reads numbers and columns", () => {
  expect(readNumbers("t", "1, 2\n3\n")).toEqual([1, 2, 3]);
  expect(readColumn("t", "a,b\n1,2\n3,4\n", "b")).toEqual([2, 4]);
  expect(() => readNumbers("t", "1 x")).toThrow(expect.objectContaining({ reason: "invalid-input" }));
});

it("reads arrivals from time stamps of fractions of a second", () => {
  const text = "TIMESTAMP,Tokens\n2023-11-16 18:17:03.9799600,4808\n2023-11-16 18:17:04.0319600,3180\n";
  const [first, second] = readArrivals("t", text);
  expect(first).toBe(0);
  expect(second).toBeCloseTo(52, 3);
  expect(() => readArrivals("t", "a\n2\n1\n")).toThrow(/line 3/);
  expect(readArrivals("t", "0.5\n0.75\n")).toEqual([0, 250]);
  expect(readArrivals("t", "app,end_timestamp,duration\na,5,1\nb,6,4\n")).toEqual([0, 2000]);
  expect(() => readArrivals("t", "-1\n2\n")).toThrow(
    "t, line 1: the arrival at -1 s is before the beginning; arrivals are at 0 s or later",
  );
  expect(() => readArrivals("t", "1\n90000\n")).toThrow("t, line 2: no arrival for 89999 s, more than a day");
  expect(() => readArrivals("t", "1\n5\n3\n")).toThrow(
    "t, line 3: the arrival at 3 s is before the last one, at 5 s; sort the arrivals by time",
  );
  expect(() => readArrivals("t", "1\nsoon\n")).toThrow(
    't, line 2: the instant should be a number, not "soon"',
  );
  expect(() => readArrivals("t", "0\n\u001b[2J\n")).toThrow(
    't, line 2: the instant should be a number, not "?[2J"',
  );
  expect(() => readArrivals("t", "# none\n")).toThrow("t holds no arrival; each line states one");
  expect(() => readArrivals("t", "a\n")).toThrow(expect.objectContaining({ reason: "invalid-input" }));
});

it("no text at all makes a reader fail otherwise than with a reason", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const read of [readMahimahi, readTwoColumns, readNumbers, readArrivals]) {
        try {
          read("t", text);
        } catch (error) {
          expect(error).toMatchObject({ reason: "invalid-input" });
        }
      }
    }),
  );
});
