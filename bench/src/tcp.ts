/**
 * `bench decide --part tcp`: the simulated link of `bench decide --worlds` beside the kernel's TCP, over a router that limits the rate and a way that
 * delays and drops packets. Both send the same sizes in the same order on one connection that rests before each.
 */
import { execFile } from "node:child_process";
import { accessSync, existsSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { seededRandom } from "@longshore/core";
import { constantTrace, emulatedLink, virtualClock } from "@longshore/lab";
import { type Bench, numberOf, quantile, type Row } from "./harness.ts";

const sizes = [20_000, 150_000, 600_000] as const;
const losses = [0, 0.01] as const;
/** Rest of the connection before each body, in milliseconds: longer than TCP's time-out, so that its window shrinks. */
const pauseMs = 600;
const roundTripMs = 50;
const bitsPerSecond = 20e6;
/** Payload of a packet of 1500 bytes: TCP over IPv4 with time stamps. */
const payloadRatio = 1448 / 1500;
/** Where this machine has what it takes. */
const tools = ["/usr/sbin/ip", "/usr/sbin/tc"] as const;
const script = fileURLToPath(new URL("../src/kernel-tcp.py", import.meta.url));

type Times = ReadonlyMap<number, readonly number[]>;

/** Why the kernel's TCP cannot be measured here; undefined where it can. */
function missing(): string | undefined {
  if (process.platform !== "linux") return "network namespaces need Linux";
  if (process.getuid?.() !== 0) return "network namespaces need root";
  const absent = tools.find((tool) => !existsSync(tool));
  if (absent !== undefined) return `${absent} is not installed`;
  try {
    accessSync("/dev/net/tun");
  } catch {
    return "/dev/net/tun is not there";
  }
  return undefined;
}

async function kernelTimes(lossRatio: number, count: number, seed: number): Promise<Times> {
  const args = [script, bitsPerSecond, roundTripMs, lossRatio, pauseMs, count, seed, ...sizes].map(String);
  const { stdout } = await promisify(execFile)("python3", args, {
    timeout: 20_000 * count,
    killSignal: "SIGTERM",
  });
  const { tookMs } = JSON.parse(stdout) as { readonly tookMs: Readonly<Record<string, readonly number[]>> };
  return new Map(sizes.map((size) => [size, tookMs[size] ?? []]));
}

async function simulatedTimes(lossRatio: number, count: number, seed: number): Promise<Times> {
  const clock = virtualClock();
  const link = emulatedLink({
    up: constantTrace(bitsPerSecond * payloadRatio),
    down: constantTrace(1e9),
    delayMs: roundTripMs / 2,
    quantumMs: 0,
    clock,
    random: seededRandom(seed),
    tcp: { lossRatio },
  });
  const tookMs = new Map<number, number[]>(sizes.map((size) => [size, []]));
  for (let round = 0; round < count; round++) {
    for (const size of sizes) {
      await clock.advance(pauseMs);
      const beganMs = clock.nowMs();
      await clock.runUntil(link.carry(size, "up"));
      tookMs.get(size)?.push(clock.nowMs() + roundTripMs / 2 - beganMs);
    }
  }
  return tookMs;
}

export const bench: Bench = {
  name: "tcp",
  about: `transfer times of the simulated link beside the kernel's TCP (CUBIC): ${bitsPerSecond / 1e6} Mbit/s, round trip ${roundTripMs} ms, after a rest of ${pauseMs} ms`,
  options: ["--rounds N"],
  bars: { worstMedianOff: { atMost: 0.2 }, worstP95Off: { atMost: 0.2 } },
  async run({ seed, args, say }) {
    const rounds = numberOf(args, "rounds", 60);
    const why = missing();
    if (why !== undefined) return { figures: {}, rows: [], notRun: [`the kernel's TCP: ${why}`] };
    const rows: Row[] = [];
    const off = { median: 0, p95: 0 };
    for (const lossRatio of losses) {
      // Without loss all rounds are alike.
      const count = lossRatio === 0 ? Math.min(rounds, 15) : rounds;
      let kernel: Times;
      try {
        kernel = await kernelTimes(lossRatio, count, seed);
      } catch (thrown) {
        const { stderr = "", message } = thrown as { readonly stderr?: string; readonly message: string };
        return {
          figures: {},
          rows,
          notRun: [`the kernel's TCP: ${stderr.trim().split("\n").at(-1) || message}`],
        };
      }
      // One that is simulated costs nothing: enough draws for a steady p95.
      const simulated = await simulatedTimes(lossRatio, lossRatio === 0 ? count : 500, seed);
      for (const size of sizes) {
        // The first body on a connection meets another window.
        const of = (times: Times, ratio: number): number => quantile((times.get(size) ?? []).slice(1), ratio);
        const [kernelMs, simulatedMs] = [of(kernel, 0.5), of(simulated, 0.5)];
        const [kernelP95Ms, simulatedP95Ms] = [of(kernel, 0.95), of(simulated, 0.95)];
        off.median = Math.max(off.median, Math.abs(simulatedMs / kernelMs - 1));
        off.p95 = Math.max(off.p95, Math.abs(simulatedP95Ms / kernelP95Ms - 1));
        rows.push({ lossRatio, size, kernelMs, simulatedMs, kernelP95Ms, simulatedP95Ms, count });
        say(
          `  ${size / 1000} kB, ${100 * lossRatio} % lost: median ${simulatedMs.toFixed(0)} ms simulated, ${kernelMs.toFixed(0)} ms measured; p95 ${simulatedP95Ms.toFixed(0)} and ${kernelP95Ms.toFixed(0)} ms`,
        );
      }
    }
    return { figures: { worstMedianOff: off.median, worstP95Off: off.p95 }, rows };
  },
};
