import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { startEnvoy, startPickedEnvoy } from "@longshore/conformance";
import type { BenchContext, Row } from "../harness.ts";
import type { FarmOrder } from "../route/farm-process.ts";
import { type Arrival, drive } from "./drive.ts";

/*
 * A process that is stopped (SIGSTOP) keeps its connections, refuses nothing and answers nothing. One of four servers is stopped while Envoy
 * chooses by least request, and while it asks pickers; then one of two pickers is. Each server is a process of its own.
 */

/** When the process stops, for how long, and when arrivals end, in milliseconds. */
const [stopAtMs, stoppedMs, endMs] = [4000, 14_000, 22_000] as const;
/** A request later than this counts, and so does one that failed. */
const lateMs = 1000;
const servers = 4;
const slots = 2;

/** A server in a process of its own. */
async function startServer(order: FarmOrder): Promise<readonly [ChildProcess, string]> {
  const child = fork(fileURLToPath(new URL("../route/farm-process.js", import.meta.url)));
  child.send(order);
  const [told] = (await once(child, "message")) as [unknown];
  if (!Array.isArray(told)) throw new Error("a server did not start");
  return [child, String(told[0])];
}

interface Counted {
  readonly late: number;
  readonly failed: number;
}

/** Sends the arrivals while a process is stopped for a part of the time. */
async function during(port: number, arrivals: readonly Arrival[], pid: number): Promise<Counted> {
  const stop = setTimeout(() => process.kill(pid, "SIGSTOP"), stopAtMs);
  const go = setTimeout(() => process.kill(pid, "SIGCONT"), stopAtMs + stoppedMs);
  try {
    const { tookMs, failed } = await drive(port, arrivals);
    // One that failed counts with the longest time.
    return { late: tookMs.filter((ms) => ms > lateMs).length, failed };
  } finally {
    clearTimeout(stop);
    clearTimeout(go);
    process.kill(pid, "SIGCONT");
  }
}

/** Late requests of each case, as figures. Throws `Unavailable` where Envoy cannot be had. */
export async function silentFigures(
  { say }: Pick<BenchContext, "say">,
  arrivalsFor: (forMs: number) => readonly Arrival[],
  folder: string,
  rows: Row[],
): Promise<Readonly<Record<string, number>>> {
  const requests = arrivalsFor(20_000).map(({ workMs }) => ({ workMs, size: 1 }));
  const farm = await Promise.all(
    Array.from({ length: servers }, () => startServer({ servers: [{ speed: 1, slots }], requests })),
  );
  const addresses = farm.map(([, address]) => address);
  const open: { close(): Promise<void> }[] = [];
  const arrivals = arrivalsFor(endMs);
  const measured = async (subject: string, stopped: string, port: number, pid: number): Promise<number> => {
    // Code that has run before, and beliefs about each server.
    await drive(port, arrivalsFor(3000));
    const counted = await during(port, arrivals, pid);
    rows.push({ subject, stopped, requests: arrivals.length, ...counted });
    say(
      `${subject.padEnd(24)} ${stopped} stopped for ${stoppedMs / 1000} s: ${counted.late} of ${arrivals.length} requests later than ${lateMs} ms or failed (${counted.failed} without an answer)`,
    );
    return counted.late;
  };
  const portOf = ({ http }: { readonly http: string }): number => Number(http.split(":")[1]);
  try {
    const server = farm[0]?.[0].pid ?? 0;
    const least = await startEnvoy({
      upstreams: addresses.map((one) => new URL(one).host),
      folder: mkdtempSync(join(folder, "envoy-")),
      policy: "least request",
    });
    open.push(least);
    const args = [...addresses.flatMap((one) => ["--at", one]), "--data-class", "public"];
    const pick = await startPickedEnvoy({ args, pickers: 2, folder: mkdtempSync(join(folder, "pick-")) });
    open.push(pick);
    const leastLate = await measured("least request", "a server", portOf(least), server);
    const serverLate = await measured("longshore pick", "a server", portOf(pick), server);
    const pickerLate = await measured("longshore pick", "a picker", portOf(pick), pick.pickerPid);
    return {
      lateLeastRequest: leastLate,
      lateServerStopped: serverLate,
      latePickerStopped: pickerLate,
      lateServerRatio: serverLate / Math.max(1, leastLate),
      latePickerRatio: pickerLate / Math.max(1, leastLate),
    };
  } finally {
    for (const one of open.reverse()) await one.close();
    for (const [child] of farm) child.disconnect();
    for (const [child] of farm) if (child.exitCode === null) await once(child, "exit");
  }
}
