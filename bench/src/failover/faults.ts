import { existsSync, rmSync, statfsSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Meddler } from "./meddler.ts";

/** A server or gateway that gets faults, the relay before it, and the disk that it writes its log to. */
export interface Victim {
  readonly pid: number;
  readonly before: Meddler;
  /** Folder of a small disk of its own; undefined where none could be had. */
  readonly disk: string | undefined;
}

/** Starts a fault; the returned function ends it. */
export type Fault = (victim: Victim) => () => void;

function stopped(pid: number): () => void {
  process.kill(pid, "SIGSTOP");
  return () => process.kill(pid, "SIGCONT");
}

/** Runs a tenth of the time. */
function slowed(pid: number): () => void {
  let on = true;
  const turn = (): void => {
    on = !on;
    process.kill(pid, on ? "SIGCONT" : "SIGSTOP");
    timer = setTimeout(turn, on ? 5 : 45);
  };
  let timer = setTimeout(turn, 0);
  return () => {
    clearTimeout(timer);
    process.kill(pid, "SIGCONT");
  };
}

function meddled(mode: Meddler["mode"]): Fault {
  return ({ before }) => {
    before.mode = mode;
    return () => void (before.mode = "pass");
  };
}

const full: Fault = ({ disk }) => (disk === undefined ? noFault() : filled(disk));

function vanished(victim: Victim): () => void {
  return victim.before.vanishes ? meddled("gone")(victim) : noFault();
}

const threeDaysMs = 3 * 86_400_000;

/**
 * A module for `--import` that lets the process's wall clock jump ahead by three days, and back, at each SIGUSR2. Timers
 * and the monotonic clock go on, as they do when a machine's clock is set.
 */
export const jumpingClock: string = `data:text/javascript,${encodeURIComponent(`
let ahead = 0;
const real = Date;
globalThis.Date = class extends real {
  constructor(...given) { if (given.length > 0) super(...given); else super(real.now() + ahead); }
  static now() { return real.now() + ahead; }
};
process.on("SIGUSR2", () => { ahead = ahead === 0 ? ${threeDaysMs} : 0; });
`)}`;

/** The clocks of the victim and of the client here jump, in opposite directions. */
function jumped(pid: number): () => void {
  const { now } = Date;
  process.kill(pid, "SIGUSR2");
  Date.now = () => now() - threeDaysMs;
  return () => {
    process.kill(pid, "SIGUSR2");
    Date.now = now;
  };
}

/** Writes until nothing more fits. */
function filled(disk: string): () => void {
  const path = join(disk, "fill");
  for (let part = 0; statfsSync(disk).bavail > 0 && part < 1024; part++) {
    try {
      writeFileSync(`${path}-${part}`, new Uint8Array(2 ** 20));
    } catch {
      // The last one does not fit whole, which is the point.
    }
  }
  return () => {
    for (let part = 0; existsSync(`${path}-${part}`); part++) rmSync(`${path}-${part}`);
  };
}

/** The fault whose answers look right. */
export const lie = "wrong values";
/** The fault after which there is one server less. */
export const kill = "kill -9, then refused";

const noFault = (): (() => void) => () => undefined;

function killed(pid: number): () => void {
  process.kill(pid, "SIGKILL");
  return () => undefined;
}

/** The faults of a server. */
export const faults: Readonly<Record<string, Fault>> = {
  hang: ({ pid }) => stopped(pid),
  "slow (10x)": ({ pid }) => slowed(pid),
  "half-open": meddled("silent"),
  "half-open (packets vanish)": vanished,
  "link cut": meddled("reset"),
  "wrong shape": meddled("wrong shape"),
  [lie]: meddled("wrong values"),
  "clock jump": ({ pid }) => jumped(pid),
  "full disk": full,
  // Nobody starts the server again.
  [kill]: ({ pid }) => killed(pid),
};

/** The fault after which there is one gateway less. */
export const gatewayKill = "gateway-kill";

/** The faults of a gateway, for clients whose library knows only gateways. The last one is permanent. */
export const gatewayFaults: Readonly<Record<string, Fault>> = {
  "gateway-hang": ({ pid }) => stopped(pid),
  "gateway-half-open": meddled("silent"),
  "gateway-half-open (packets vanish)": vanished,
  "gateway-link-cut": meddled("reset"),
  "gateway-clock-jump": ({ pid }) => jumped(pid),
  "gateway-full-disk": full,
  [gatewayKill]: ({ pid }) => killed(pid),
};
