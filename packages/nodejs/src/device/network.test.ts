import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { linkHint } from "./network.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "longshore-network-"));
});
afterEach(() => rmSync(folder, { recursive: true }));

function write(path: string, text: string | number): void {
  const file = join(folder, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${text}\n`);
}

const heading = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT";

/** Routes as `[interface, destination, gateway, flags, metric, mask]`. */
function routes(...all: readonly (readonly [string, string, string, string, number, string])[]): void {
  const lines = all.map(
    ([over, to, by, flags, metric, mask]) =>
      `${over}\t${to}\t${by}\t${flags}\t0\t0\t${metric}\t${mask}\t0\t0\t0       `,
  );
  write("proc/net/route", [heading, ...lines].join("\n"));
}

function wired(name: string, speed?: number): void {
  write(`sys/net/${name}/device/vendor`, "0x8086");
  if (speed !== undefined) write(`sys/net/${name}/speed`, speed);
}

const hintFor = (address: string) =>
  linkHint(address, {
    proc: join(folder, "proc"),
    sysClass: join(folder, "sys"),
    own: () => ["127.0.0.1", "192.168.0.7", "fe80::7"],
  });

const byWire = ["eth0", "0000A8C0", "00000000", "0001", 100, "00FFFFFF"] as const;
const outByWire = ["eth0", "00000000", "0100A8C0", "0003", 100, "00000000"] as const;

describe("linkHint", () => {
  it("reports the speed of a wire that both ends are on, and not beyond a router", async () => {
    routes(outByWire, byWire);
    wired("eth0", 1000);
    const gigabit = { kind: "ethernet", upBitsPerSecond: 1e9, downBitsPerSecond: 1e9 };
    expect(await hintFor("http://192.168.0.20:8000")).toEqual(gigabit);
    expect(await hintFor("http://192.168.1.20:8000")).toEqual({ kind: "ethernet" });
    expect(await hintFor("https://edge.example:8000")).toEqual({ kind: "ethernet" });
    expect(await hintFor("http://[2001:db8::1]:8000")).toEqual({ kind: "ethernet" });
  });

  it("takes the narrowest route, then the one of the least metric", async () => {
    wired("eth0", 100);
    write("sys/net/wlan0/wireless/status", 0);
    write("sys/net/wlan0/device/vendor", "0x8086");
    write("sys/net/wwan0/uevent", "INTERFACE=wwan0\nDEVTYPE=wwan");
    routes(
      ["wwan0", "00000000", "0100000A", "0003", 700, "00000000"],
      ["wlan0", "00000000", "0102A8C0", "0003", 600, "00000000"],
      ["wwan0", "0000000A", "00000000", "0001", 700, "000000FF"],
      byWire,
    );
    expect(await hintFor("http://8.8.8.8")).toEqual({ kind: "wifi" });
    expect(await hintFor("http://10.1.2.3")).toEqual({ kind: "cellular" });
    expect(await hintFor("http://192.168.0.20")).toMatchObject({ kind: "ethernet", upBitsPerSecond: 100e6 });
  });

  it("leaves out speeds that the driver does not know, routes that are down or refuse, and tunnels", async () => {
    wired("eth0", -1);
    write("sys/net/tun0/speed", 10_000);
    routes(
      byWire,
      ["eth1", "0100A8C0", "00000000", "0000", 0, "FFFFFFFF"],
      ["eth2", "0200A8C0", "00000000", "0201", 0, "FFFFFFFF"],
      ["tun0", "00000000", "00000000", "0001", 0, "00000000"],
    );
    for (const host of ["192.168.0.1", "192.168.0.2"])
      expect(await hintFor(`http://${host}`)).toEqual({ kind: "ethernet" });
    expect(await hintFor("http://8.8.8.8")).toBeUndefined();
  });

  it.each(["http://localhost:1", "http://127.0.0.2:1", "http://192.168.0.7:1", "http://[fe80::7]:1"])(
    "takes %s for this machine, with any interfaces",
    async (address) => {
      expect(await hintFor(address)).toEqual({ kind: "loopback" });
    },
  );

  it("knows nothing where files are missing or make no sense, or the address is none", async () => {
    expect(await hintFor("http://192.168.0.20")).toBeUndefined();
    write("proc/net/route", "nothing of the kind\neth0 what is this");
    expect(await hintFor("http://192.168.0.20")).toBeUndefined();
    routes(byWire);
    expect(await hintFor("http://192.168.0.20")).toBeUndefined();
    expect(await hintFor("no address")).toBeUndefined();
  });
});
