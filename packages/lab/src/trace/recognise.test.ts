import { describe, expect, it } from "vitest";
import { meanBitsPerSecond, parseRate, traceOf } from "./index.ts";

describe("rates", () => {
  it.each([
    ["5mbit", 5e6],
    ["600kbit", 600e3],
    ["1.5Mbit/s", 1.5e6],
    ["20 Mbps", 20e6],
    ["1gbit", 1e9],
    ["9600bps", 9600],
    [".5mbits", 0.5e6],
  ])("reads %s", (text, rate) => {
    expect(parseRate(text)).toBe(rate);
  });

  it.each(["0mbit", "-1mbit", "mbit", "5", "5MB/s", "5 parsec", "1e3mbit", ""])(
    "does not read '%s'",
    (text) => {
      expect(parseRate(text)).toBeUndefined();
    },
  );
});

describe("traces", () => {
  it("recognises the format of a trace by its content", () => {
    // Ten packets of 1,460 bytes in 10 ms.
    expect(meanBitsPerSecond(traceOf("m", "1\n2\n3\n4\n5\n6\n7\n8\n9\n10\n"))).toBeCloseTo(
      1460 * 8 * 1000,
      0,
    );
    expect(meanBitsPerSecond(traceOf("t", "# seconds, Mbit/s\n0.0\t1.5\n1.0\t1.5\n"))).toBeCloseTo(1.5e6, -2);
    expect(meanBitsPerSecond(traceOf("c", "second,up_kbps\n0,100\n1,300\n"))).toBeCloseTo(200e3, -2);
    expect(meanBitsPerSecond(traceOf("g", "radio,throughput_mbps\n4G,10\n5G,30\n"))).toBeCloseTo(20e6, -2);
  });

  it.each([
    ["time_s,uplink_mbps\r\n0,2\r\n0.5,8\r\n1,4\r\n", 1500],
    ["radio, elapsed (ms), mbps\n4G,0,2\n4G,250,3\n", 500],
    ["seconds,mbps\n10,2\n14,3\n", 8000],
    ["timestamp,throughput_kbps\n1700000000000,2000\n1700000001500,900\n", 3000],
    ["Time,bps\n2024-01-01 10:00:00,2000000\n2024-01-01 10:00:02,2500000\n", 4000],
    ["time,mbps\n2024-01-01T10:00:00.250Z,2\n2024-01-01T10:00:01.250Z,3\n", 2000],
    ["time,mbps\n2024-10-27T02:59:59+02:00,2\n2024-10-27T02:00:02+0100,3\n", 6000],
    ["uptime,mbps\n100,2\n200,3\n", 2000],
  ])("reads the instants of a header that names them: %j lasts %d ms", (text, lengthMs) => {
    expect(traceOf("c", text).lengthMs).toBeCloseTo(lengthMs, 3);
  });

  it.each(["", "hello", "a,b\n1,2\n", "1 2 3\n"])("refuses a file that begins with '%s'", (text) => {
    expect(() => traceOf("x", text)).toThrow(expect.objectContaining({ reason: "invalid-input" }) as Error);
  });

  it("reads the cells of a CSV as spreadsheets and data frames write them", () => {
    const rows = [
      ["time", "uplink, mbps"],
      ["0", "1"],
      ["2", "3"],
      ["4", "3"],
    ];
    const quoted = rows.map((row) => row.map((cell) => `"${cell}"`).join(", ")).join("\n");
    const same = [rows.map((row) => row.join(";")), rows.map((row) => row.join("\t"))].map((one) =>
      one.join("\n"),
    );
    for (const text of [quoted, ...same]) {
      const { packets, lengthMs } = traceOf("phone", text);
      expect([packets, lengthMs]).toEqual([
        traceOf("phone", "0 1\n2 3\n4 3").packets,
        traceOf("phone", "0 1\n2 3\n4 3").lengthMs,
      ]);
    }
    expect(() => traceOf("phone", '"time","a ""quick"" one mbps"\n0,"1,5"')).toThrow(
      'line 2: a "quick" one mbps should be a number, not "1,5"',
    );
  });

  it("says which of several rates it reads", () => {
    expect(traceOf("car", "seq,one_mbps,other_mbps\n0,1,2\n").name).toBe("car (one_mbps)");
    expect(traceOf("walk", "seq,one_mbps\n0,1\n").name).toBe("walk");
    const units = traceOf("bus", "seq,one_kbps,other_mbps\n0,1,2\n");
    expect([units.name, meanBitsPerSecond(units)]).toEqual(["bus (other_mbps)", 2e6]);
    expect(traceOf("x", "seq,\u001b[2J_mbps,other_mbps\n0,1,2\n").name).toBe("x (?[2J_mbps)");
  });

  it("names the kind of a file that is no trace, in printable letters", () => {
    expect(() => traceOf("x", "")).toThrow(/trace x holds no line/);
    expect(() => traceOf("x", "-5\n3\n")).toThrow("x, line 1: the packet at -5 ms is before the beginning");
    expect(() => traceOf("x", "\u0000\u001b[2J\ufffdab")).toThrow(/begins with "\?\?\[2J\?ab"/);
  });

  it("reads the named column if the header does not decide", () => {
    const columns = { rate: "UL_bitrate", bitsPerSecondPerUnit: 1000, time: "at" };
    expect(meanBitsPerSecond(traceOf("u", "at,UL_bitrate\n0,100\n1,300\n", columns))).toBeCloseTo(200e3, -2);
  });
});
