/**
 * The part of `bench decide --part energy` that runs for real, on planted sensors: an energy counter of which the truth is known, and network interfaces of
 * each kind. Nothing of this machine's own sensors is read.
 */
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { cpus, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { setTimeout as after } from "node:timers/promises";
import { type Limits, type Offloader, type Radio, type Result } from "@longshore/core";
import { constantTrace, linkProxy } from "@longshore/lab";
import { deviceMonitor, linkHint, systemClock } from "@longshore/nodejs";
import { sampleRepository } from "@longshore/samples";
import { openModel, openOffloader, serve } from "longshore";
import { radioTowards } from "longshore/measure";
import { mean, type Row } from "./harness.ts";

/** Energy of one busy millisecond of a core, in millijoules, that the planted counter tells. */
const plantedWatts = 15;
/** The planted counter starts again after so many microjoules, a few times in a run. */
const counterRange = 500_000_000;
const tickMs = 100;
/** A phone's core while it runs, above idle. */
const deviceWatts = 2;

/** The kinds of interface, as Linux shows them, and whether work at a server beside it takes energy here. */
const interfaces = [
  { name: "eth0", kind: "ethernet", files: { "device/vendor": "0x8086" } },
  { name: "wlan0", kind: "wifi", files: { "wireless/status": "0", "device/vendor": "0x8086" } },
  { name: "wwan0", kind: "cellular", files: { uevent: "INTERFACE=wwan0\nDEVTYPE=wwan" } },
  { name: "tun0", kind: "unknown", files: { mtu: "1500" } },
] as const;

const input = { readings: new Float32Array(32 * 4096) };

/** A folder of sensor files. */
interface Planted extends Disposable {
  readonly folder: string;
  write(path: string, text: string): void;
}

function planted(): Planted {
  const folder = mkdtempSync(join(tmpdir(), "longshore-bench-sensors-"));
  return {
    folder,
    write(path, text) {
      const file = join(folder, path);
      mkdirSync(dirname(file), { recursive: true });
      // Whole or not at all: a reader in between would see an empty file.
      writeFileSync(`${file}.new`, `${text}\n`);
      renameSync(`${file}.new`, file);
    },
    [Symbol.dispose]: () => rmSync(folder, { recursive: true }),
  };
}

function busyMs(): number {
  let busy = 0;
  for (const { times } of cpus()) busy += times.user + times.nice + times.sys + times.irq;
  return busy;
}

const runMsOf = ({ accounts }: Result): number =>
  accounts
    .flatMap(({ stages }) => stages)
    .reduce((sum, { stage, tookMs }) => sum + (stage === "run" || stage === "transform" ? tookMs : 0), 0);

async function askedOften(app: Offloader, count: number, limits: Limits): Promise<readonly Result[]> {
  const results: Result[] = [];
  for (let at = 0; at < count; at++) results.push(await app.infer("anomaly", input, limits));
  return results;
}

/** The energy of runs here by a planted counter, over what the counter took for as much busy time. */
async function againstCounter(rows: Row[], say: (line: string) => void): Promise<number> {
  using sensors = planted();
  const package0 = "class/powercap/intel-rapl:0";
  sensors.write(`${package0}/name`, "package-0");
  sensors.write(`${package0}/max_energy_range_uj`, `${counterRange - 1}`);
  // The part of a socket is in its total already.
  sensors.write(`${package0}:0/name`, "core");
  sensors.write(`${package0}:0/energy_uj`, "7");
  const begun = busyMs();
  const tick = (): void => {
    const microjoules = Math.round((busyMs() - begun) * plantedWatts * 1000);
    sensors.write(`${package0}/energy_uj`, `${microjoules % counterRange}`);
  };
  tick();
  const monitor = deviceMonitor({
    clock: systemClock(),
    sysClass: join(sensors.folder, "class"),
    proc: join(sensors.folder, "proc"),
    everyMs: 1e9,
  });
  const repository = sampleRepository();
  const app = await openOffloader({
    repository,
    beliefs: false,
    device: { millijoulesPerMs: monitor.millijoulesPerMs },
  });
  const timer = setInterval(tick, tickMs);
  const results: Result[] = [];
  try {
    await monitor.read();
    for (let round = 0; round < 8; round++) {
      const told = await askedOften(app, 20, { only: "device", dataClass: "public" });
      results.push(...told);
      await after(tickMs);
      tick();
      await monitor.read();
    }
  } finally {
    clearInterval(timer);
    await app.close();
  }
  const measured = results.filter(({ energy }) => energy.label === "measured");
  const ratio =
    measured.reduce((sum, { energy }) => sum + energy.millijoules, 0) /
    measured.reduce((sum, result) => sum + runMsOf(result) * plantedWatts, 0);
  const millijoules = mean(measured.map(({ energy }) => energy.millijoules));
  say(
    `  planted counter, ${plantedWatts} W: ${measured.length} of ${results.length} runs measured, ${millijoules.toFixed(0)} mJ a run, ${ratio.toFixed(3)} of what was planted`,
  );
  rows.push({ kind: "counter", runs: results.length, measured: measured.length, millijoules, ratio });
  return measured.length === 0 ? NaN : Math.max(ratio, 1 / ratio);
}

/** The radio towards an address that the default route over an interface leads to. */
async function radioOver({ name, files }: (typeof interfaces)[number]): Promise<Radio> {
  using sensors = planted();
  const heading = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT";
  sensors.write(
    "proc/net/route",
    `${heading}\n${name}\t00000000\t0100A8C0\t0003\t0\t0\t100\t00000000\t0\t0\t0`,
  );
  for (const [path, text] of Object.entries(files)) sensors.write(`class/net/${name}/${path}`, text);
  const folders = {
    proc: join(sensors.folder, "proc"),
    sysClass: join(sensors.folder, "class"),
    own: () => [],
  };
  return await radioTowards(["http://192.0.2.7:8000"], (address) => linkHint(address, folders));
}

/** For each interface: energy of a run here, at a server, and where the objective energy sends it. */
async function overInterfaces(rows: Row[], say: (line: string) => void): Promise<number> {
  const repository = sampleRepository();
  const server = await serve({ store: (await openModel(repository)).store, port: 0 });
  const link = await linkProxy({
    target: { port: Number(new URL(server.address).port) },
    up: constantTrace(20e6),
    down: constantTrace(20e6),
    delayMs: 20,
  });
  let [spentInAll, leastInAll] = [0, 0];
  try {
    for (const one of interfaces) {
      const radio = await radioOver(one);
      const app = await openOffloader({
        repository,
        beliefs: false,
        servers: [{ address: `http://127.0.0.1:${link.port}`, id: "server" }],
        device: { radio, activeWatts: deviceWatts },
      });
      const ask = async (count: number, limits: Limits): Promise<readonly Result[]> =>
        askedOften(app, count, { dataClass: "public", ...limits });
      const millijoules = (results: readonly Result[]): number =>
        mean(results.map(({ energy }) => energy.millijoules));
      await ask(2, { only: "device" });
      await ask(2, { only: { endpoint: "server" } });
      const [local, remote, chosen]: [Result[], Result[], Result[]] = [[], [], []];
      for (let round = 0; round < 6; round++) {
        local.push(...(await ask(3, { only: "device" })));
        chosen.push(...(await ask(3, { objective: "energy" })));
        remote.push(...(await ask(3, { only: { endpoint: "server" }, objective: "energy" })));
      }
      await app.close();
      const [here, there] = [millijoules(local), millijoules(remote)];
      const away = chosen.filter(({ where }) => where === "server").length;
      const spent = millijoules(chosen);
      spentInAll += spent;
      leastInAll += Math.min(here, there);
      say(
        `  ${one.kind.padEnd(9)} ${one.name.padEnd(6)} here ${here.toFixed(0).padStart(6)} mJ, at the server ${there.toFixed(0).padStart(6)} mJ; objective energy: ${spent.toFixed(0)} mJ, ${away} of ${chosen.length} with the server`,
      );
      rows.push({ kind: "interface", interface: one.kind, here, there, spent, away, chosen: chosen.length });
    }
  } finally {
    await link.close();
    await server.close(0);
  }
  return spentInAll / leastInAll;
}

/** Measures both parts. */
export async function measureSensors(
  say: (line: string) => void,
): Promise<{ readonly figures: Readonly<Record<string, number>>; readonly rows: readonly Row[] }> {
  const rows: Row[] = [];
  say("\n  planted sensors, real runs of anomaly on this machine:");
  const measuredOverPlanted = await againstCounter(rows, say);
  const interfaceOverLeast = await overInterfaces(rows, say);
  return { figures: { measuredOverPlanted, interfaceOverLeast }, rows };
}
