import type { LinkHint, LinkKind } from "@longshore/core/internal";
import { networkInterfaces } from "node:os";
import { isIPv4 } from "node:net";
import { readNames, readSysNumber, readSysText } from "./sys-file.ts";

/** Where a system shows its network. */
export interface NetworkFolders {
  /** Default `/proc`. */
  readonly proc?: string;
  /** Default `/sys/class`. */
  readonly sysClass?: string;
  /** Addresses of this machine. */
  readonly own?: () => readonly string[];
}

/** A route that is up: which addresses it leads to, and over which interface. */
interface Route {
  readonly over: string;
  readonly destination: number;
  readonly mask: number;
  readonly metric: number;
  /** Another machine hands on what is sent: the interface is the first hop only. */
  readonly gateway: boolean;
}

const up = 0x1;
const gateway = 0x2;
const reject = 0x200;

/** The IPv4 routes of `/proc/net/route`; addresses are hexadecimal there, in the order of bytes of the machine (little-endian). */
async function routes(proc: string): Promise<readonly Route[]> {
  const [, ...lines] = ((await readSysText(proc, "net", "route")) ?? "").split("\n");
  return lines.flatMap((line) => {
    const [over = "", destination = "", , flags = "", , , metric = "", mask = ""] = line.split(/\s+/);
    const says = Number.parseInt(flags, 16);
    if ((says & up) === 0 || (says & reject) !== 0) return [];
    return {
      over,
      destination: Number.parseInt(destination, 16),
      mask: Number.parseInt(mask, 16),
      metric: Number(metric),
      gateway: (says & gateway) !== 0,
    };
  });
}

const littleEndian = (address: string): number =>
  address.split(".").reduceRight((number, byte) => number * 256 + Number(byte), 0);

/** How many addresses a mask leaves open; little-endian masks do not compare as numbers. */
function width({ mask }: Route): number {
  let ones = 0;
  for (let left = mask; left > 0; left = Math.floor(left / 2)) ones += left % 2;
  return 32 - ones;
}

/** The narrowest route to an address, among equals the one of the least metric. */
function routeTo(all: readonly Route[], address: number): Route | undefined {
  return all
    .filter(({ destination, mask }) => ((address & mask) ^ destination) === 0)
    .toSorted((a, b) => width(a) - width(b) || a.metric - b.metric)[0];
}

/** The medium of an interface; undefined for tunnels, bridges and other virtual ones, whose carrier is unknown. */
async function kindOf(folder: string): Promise<LinkKind | undefined> {
  const names = await readNames(folder);
  const event = (await readSysText(folder, "uevent")) ?? "";
  if (names.includes("wireless") || /^DEVTYPE=wlan$/m.test(event)) return "wifi";
  if (/^DEVTYPE=wwan$/m.test(event)) return "cellular";
  return names.includes("device") ? "ethernet" : undefined;
}

function hostOf(address: string): string | undefined {
  return URL.canParse(address) ? new URL(address).hostname.replace(/^\[|\]$/g, "") : undefined;
}

/**
 * Linux's facts about the link to `http://host:port`, without any request: the medium of the interface that leads there, and
 * the speed of a wire that both ends are on. Beyond a router that speed says nothing about the rest of the way, so it is left
 * out, and so is any rate of this machine's own addresses: a program there may forward over any link. The name of another host
 * is not looked up: it is assumed to be on the default route. Undefined if no fact is known, as on other systems, where only
 * this machine's own addresses are. Never rejects.
 *
 * @example
 * ```ts
 * import { linkHint } from "@longshore/nodejs";
 *
 * const hint = await linkHint("http://127.0.0.1:8000");
 * console.log(hint === undefined || typeof hint === "object"); // true
 * ```
 */
export async function linkHint(
  address: string,
  { proc = "/proc", sysClass = "/sys/class", own = ownAddresses }: NetworkFolders = {},
): Promise<LinkHint | undefined> {
  const host = hostOf(address);
  if (host === undefined || host === "") return undefined;
  const numbered = isIPv4(host);
  const thisMachine = numbered ? host.startsWith("127.") : /(^|\.)localhost$/.test(host);
  if (thisMachine || own().includes(host)) return { kind: "loopback" };
  const route = routeTo(await routes(proc), numbered ? littleEndian(host) : 0);
  if (!route) return undefined;
  const folder = `${sysClass}/net/${route.over}`;
  const kind = await kindOf(folder);
  if (!kind) return undefined;
  const megabits = kind === "ethernet" ? await readSysNumber(folder, "speed") : undefined;
  if (!numbered || route.gateway || megabits === undefined || megabits <= 0) return { kind };
  return { kind, upBitsPerSecond: megabits * 1e6, downBitsPerSecond: megabits * 1e6 };
}

function ownAddresses(): readonly string[] {
  try {
    return Object.values(networkInterfaces()).flatMap((some) => (some ?? []).map(({ address }) => address));
  } catch {
    // Programs that are shut in may be refused.
    return [];
  }
}
