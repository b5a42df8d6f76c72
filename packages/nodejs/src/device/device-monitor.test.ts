import { manualClock } from "@longshore/testkit";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { deviceMonitor } from "./device-monitor.ts";

let root: string;
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "longshore-sensors-"));
});
afterEach(() => rmSync(root, { recursive: true }));

function write(path: string, text: string | number): void {
  const file = join(root, path);
  mkdirSync(dirname(file), { recursive: true });
  writeFileSync(file, `${text}\n`);
}

function monitor(times = { idle: 0, all: 0 }) {
  const clock = manualClock();
  const cores = { ...times };
  const made = deviceMonitor({
    clock,
    sysClass: join(root, "class"),
    proc: join(root, "proc"),
    coreTimes: () => ({ ...cores }),
  });
  return { clock, cores, monitor: made };
}

it("takes a machine that shows nothing to be well, and measures nothing there", async () => {
  const { monitor: made } = monitor();
  await made.read();
  expect(made.health()).toEqual({ strainRatio: 0 });
  expect(made.battery()).toBeUndefined();
  expect(made.millijoulesPerMs()).toBeUndefined();
});

it.each([
  ["70 °C of 95", { "class/thermal/thermal_zone0/temp": 70_000 }, 0, undefined],
  ["88 °C of 95", { "class/thermal/thermal_zone0/temp": 88_000 }, 8 / 15, "it is at 88 °C"],
  [
    "a zone that is throttled at 60 °C",
    {
      "class/thermal/thermal_zone3/temp": 58_500,
      "class/thermal/thermal_zone3/trip_point_0_type": "passive",
      "class/thermal/thermal_zone3/trip_point_0_temp": 60_000,
    },
    0.9,
    "it is at 59 °C",
  ],
  [
    "a processor that is throttled",
    { "class/thermal/cooling_device1/type": "Processor", "class/thermal/cooling_device1/cur_state": 3 },
    1,
    "its processor is throttled",
  ],
  [
    "a fan that turns",
    { "class/thermal/cooling_device1/type": "Fan", "class/thermal/cooling_device1/cur_state": 3 },
    0,
    undefined,
  ],
  [
    "programs that wait for memory",
    { "proc/pressure/memory": "some avg10=30.00 avg60=1.00 avg300=0.10 total=5\nfull avg10=0.00" },
    0.5,
    "programs wait for memory 30 % of the time",
  ],
  [
    "a battery at 3 %",
    {
      "class/power_supply/BAT0/type": "Battery",
      "class/power_supply/BAT0/status": "Discharging",
      "class/power_supply/BAT0/capacity": 3,
    },
    0.9,
    "its battery is at 3 %",
  ],
  [
    "sensors that say rubbish",
    {
      "class/thermal/thermal_zone0/temp": 2_000_000,
      "class/thermal/thermal_zone1/temp": "hot",
      "class/thermal/cooling_device0/cur_state": -1,
      "class/thermal/cooling_device0/type": "Processor",
      "proc/pressure/memory": "some avg10=lots",
    },
    0,
    undefined,
  ],
] as const)("knows %s", async (_what, files, strainRatio, why) => {
  for (const [path, text] of Object.entries(files)) write(path, text);
  const { monitor: made } = monitor();
  await made.read();
  expect(made.health().strainRatio).toBeCloseTo(strainRatio, 6);
  expect(made.health().why).toBe(why);
});

it("reads again at the next use of old readings", async () => {
  write("class/thermal/thermal_zone0/temp", 60_000);
  const { clock, monitor: made } = monitor();
  await made.read();
  write("class/thermal/thermal_zone0/temp", 95_000);
  expect(made.health().strainRatio).toBe(0);
  await clock.advance(5001);
  made.health();
  await made.read();
  expect(made.health().strainRatio).toBe(1);
});

it("divides the energy counters' figures among the busy time of all cores", async () => {
  const counter = (microjoules: number): void => {
    write("class/powercap/intel-rapl:0/name", "package-0");
    write("class/powercap/intel-rapl:0/max_energy_range_uj", 1e12);
    write("class/powercap/intel-rapl:0/energy_uj", microjoules);
  };
  counter(0);
  const { clock, cores, monitor: made } = monitor();
  await made.read();
  // 20 joules in 2 s, in which two cores were busy for 1 s in all.
  counter(20e6);
  await clock.advance(2000);
  Object.assign(cores, { idle: 3000, all: 4000 });
  await made.read();
  expect(made.millijoulesPerMs()).toBeCloseTo(20, 6);
  // An interval in which almost nothing ran says nothing of what work takes.
  counter(40e6);
  await clock.advance(2000);
  Object.assign(cores, { idle: 6990, all: 8000 });
  await made.read();
  expect(made.millijoulesPerMs()).toBeCloseTo(20, 6);
});

it.each([
  ["no number", "lots"],
  ["a negative number", -5],
  ["more than the range", 2e12],
  ["nothing", ""],
  ["a leap of a megajoule in two seconds", 0.9e12, 0.9e12],
  ["a fall that is no new beginning", 1, 1],
])(
  "measures nothing by a counter that says %s, and goes on when it is right again",
  async (_what, said, next = 5e9) => {
    const folder = "class/powercap/intel-rapl:0";
    write(`${folder}/name`, "package-0");
    write(`${folder}/max_energy_range_uj`, 1e12);
    write(`${folder}/energy_uj`, 5e9);
    const { clock, cores, monitor: made } = monitor();
    const later = async (energy: number | string): Promise<void> => {
      write(`${folder}/energy_uj`, energy);
      await clock.advance(2000);
      Object.assign(cores, { idle: cores.idle + 3000, all: cores.all + 4000 });
      await made.read();
    };
    await made.read();
    await later(said as number | string);
    expect(made.millijoulesPerMs()).toBeUndefined();
    await later(next as number);
    await later((next as number) + 20e6);
    expect(made.millijoulesPerMs()).toBeCloseTo(20, 6);
  },
);

it.each([0, -1, "wide"])("believes no counter whose range is %s", async (range) => {
  const folder = "class/powercap/intel-rapl:0";
  write(`${folder}/name`, "package-0");
  write(`${folder}/max_energy_range_uj`, range);
  write(`${folder}/energy_uj`, 0);
  const { clock, cores, monitor: made } = monitor();
  await made.read();
  write(`${folder}/energy_uj`, 20e6);
  await clock.advance(2000);
  Object.assign(cores, { idle: 3000, all: 4000 });
  await made.read();
  expect(made.millijoulesPerMs()).toBeUndefined();
});

it.each([
  ["capacity", -5],
  ["capacity", 900],
  ["capacity", "full"],
  ["status", "Sleeping"],
])("takes no battery for empty whose %s is %s", async (file, said) => {
  write("class/power_supply/BAT0/type", "Battery");
  write("class/power_supply/BAT0/status", "Discharging");
  write("class/power_supply/BAT0/capacity", 3);
  write(`class/power_supply/BAT0/${file}`, said);
  const { monitor: made } = monitor();
  await made.read();
  expect(made.health()).toEqual({ strainRatio: 0 });
});

it("measures nothing by a battery that gives megawatts", async () => {
  write("class/power_supply/BAT0/type", "Battery");
  write("class/power_supply/BAT0/status", "Discharging");
  write("class/power_supply/BAT0/power_now", 9e15);
  const { clock, cores, monitor: made } = monitor();
  await made.read();
  await clock.advance(1000);
  Object.assign(cores, { idle: 500, all: 2000 });
  await made.read();
  expect(made.millijoulesPerMs()).toBeUndefined();
});

it("takes the discharge of a battery where there is no counter", async () => {
  write("class/power_supply/BAT0/type", "Battery");
  write("class/power_supply/BAT0/status", "Discharging");
  write("class/power_supply/BAT0/capacity", 80);
  write("class/power_supply/BAT0/power_now", 6_000_000);
  const { clock, cores, monitor: made } = monitor();
  await made.read();
  await clock.advance(1000);
  Object.assign(cores, { idle: 500, all: 2000 });
  await made.read();
  // 6 W for a second are 6 J, over 1,500 busy milliseconds.
  expect(made.millijoulesPerMs()).toBeCloseTo(4, 6);
  expect(made.battery()).toEqual({ ratio: 0.8, charging: false });
});
