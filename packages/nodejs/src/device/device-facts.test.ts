import { setImmediate as nextTurn } from "node:timers/promises";
import { manualClock } from "@longshore/testkit";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir, totalmem } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { deviceFacts, memoryMeter } from "./device-facts.ts";
import { energyCounter } from "./energy-counter.ts";
import { loadMeter } from "./load-meter.ts";

let sys: string;
beforeEach(() => {
  sys = mkdtempSync(join(tmpdir(), "longshore-sys-"));
});
afterEach(() => rmSync(sys, { recursive: true }));

function write(path: string, text: string | number): void {
  const file = join(sys, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${text}\n`);
}

describe("deviceFacts", () => {
  it("reports cores and memory, and leaves open what this machine does not show", async () => {
    const facts = await deviceFacts(sys);
    expect(facts.cores).toBeGreaterThanOrEqual(1);
    expect(facts.totalMemoryBytes).toBeGreaterThan(64e6);
    expect(facts.totalMemoryBytes).toBeLessThanOrEqual(totalmem());
    expect(facts.freeMemoryBytes).toBeGreaterThan(0);
    expect(facts.freeMemoryBytes).toBeLessThanOrEqual(facts.totalMemoryBytes);
    expect(facts.battery).toBeUndefined();
    expect(facts.hottestCelsius).toBeUndefined();
  });

  it("reads the machine's battery and not that of its mouse", async () => {
    write("power_supply/AC/type", "Mains");
    write("power_supply/A-mouse/type", "Battery");
    write("power_supply/A-mouse/scope", "Device");
    write("power_supply/A-mouse/capacity", 5);
    write("power_supply/BAT0/type", "Battery");
    write("power_supply/BAT0/capacity", 62);
    write("power_supply/BAT0/status", "Discharging");
    write("power_supply/BAT0/power_now", 7_450_000);
    expect((await deviceFacts(sys)).battery).toEqual({
      chargeRatio: 0.62,
      discharging: true,
      powerMilliwatts: 7450,
    });
  });

  it("makes power from current and voltage, whichever way the driver counts", async () => {
    write("power_supply/battery/type", "Battery");
    write("power_supply/battery/status", "Charging");
    write("power_supply/battery/current_now", -500_000);
    write("power_supply/battery/voltage_now", 4_000_000);
    expect((await deviceFacts(sys)).battery).toEqual({
      chargeRatio: undefined,
      discharging: false,
      powerMilliwatts: 2000,
    });
  });

  it("reports the hottest zone and leaves out sensors that are off", async () => {
    write("thermal/thermal_zone0/temp", 41_500);
    write("thermal/thermal_zone1/temp", 63_000);
    write("thermal/thermal_zone2/temp", -274_000);
    write("thermal/thermal_zone3/temp", "N/A");
    write("thermal/cooling_device0/temp", 99_000);
    expect((await deviceFacts(sys)).hottestCelsius).toBe(63);
  });
});

describe("memoryMeter", () => {
  it("reads again only when its figures are too old", async () => {
    const clock = manualClock();
    let free = 10;
    const memory = memoryMeter(clock, 500, () => ({ total: 100, free: free-- }));
    expect(memory().free).toBe(10);
    await clock.advance(500);
    expect(memory().free).toBe(10);
    await clock.advance(1);
    expect(memory().free).toBe(9);
  });
});

describe("energyCounter", () => {
  const socket = (index: number, microjoules: number): void => {
    write(`powercap/intel-rapl:${index}/name`, `package-${index}`);
    write(`powercap/intel-rapl:${index}/max_energy_range_uj`, 999_999);
    write(`powercap/intel-rapl:${index}/energy_uj`, microjoules);
  };

  it("is not there where no counter is, or none may be read", async () => {
    expect(await energyCounter(sys)).toBeUndefined();
    write("powercap/intel-rapl:0/name", "package-0");
    expect(await energyCounter(sys)).toBeUndefined();
  });

  it("adds sockets, not their parts, and goes on when a counter starts again", async () => {
    socket(0, 900_000);
    socket(1, 100_000);
    write("powercap/intel-rapl:0:0/name", "core");
    write("powercap/intel-rapl:0:0/energy_uj", 5);
    const counter = await energyCounter(sys);
    expect(await counter?.readMillijoules()).toBe(0);
    socket(0, 950_000);
    socket(1, 130_000);
    expect(await counter?.readMillijoules()).toBe(80);
    socket(0, 10_000); // 50,000 up to the end of its range, 10,000 after
    expect(await counter?.readMillijoules()).toBe(140);
  });

  it("says that it does not know once a counter is gone", async () => {
    socket(0, 1);
    const counter = await energyCounter(sys);
    rmSync(join(sys, "powercap"), { recursive: true });
    expect(await counter?.readMillijoules()).toBeUndefined();
  });
});

describe("loadMeter", () => {
  it("reports the busy share since the last reading", () => {
    const totals = [
      { idle: 1000, all: 1000 },
      { idle: 1150, all: 1200 },
      { idle: 1150, all: 1300 },
      { idle: 1150, all: 1300 },
    ];
    const meter = loadMeter(() => totals.shift() ?? { idle: 0, all: 0 });
    expect(meter.read().busyRatio).toBeCloseTo(0.25);
    expect(meter.read().busyRatio).toBe(1);
    expect(meter.read().busyRatio).toBeUndefined();
    meter[Symbol.dispose]();
  });

  it("sees that the event loop was held up", async () => {
    const meter = loadMeter();
    // The first sample after a reading has nothing before it to be late after, so the loop is held several times for each.
    await vi.waitFor(async () => {
      for (let turn = 0; turn < 4; turn++) {
        await nextTurn();
        const until = performance.now() + 60;
        while (performance.now() < until);
      }
      expect(meter.read().loopDelayP99Ms).toBeGreaterThan(20);
    }, 60_000);
    meter[Symbol.dispose]();
  });
});
