import { poissonArrivals } from "@longshore/lab";
import { numberOf, quantile, type Row } from "../harness.ts";
import type { Generator, LoopDelay, ServeProcess } from "../load/drive.ts";
import type { PhaseResult, Stream, StreamResult } from "../load/messages.ts";
import { binaryRequest, type OverloadRequest } from "../load/overload-peers.ts";

export const rowShape: readonly number[] = [1, 3, 112, 112];
export const tensorBytes: number = rowShape.reduce((product, size) => product * size, 4);
/** A client's deadline for an answer, and the part of it that is reserved for the way back. */
export const deadlineMs = 120;
export const wayBackMs = 5;

/** A server, its client, and the right answer. */
export interface OverloadSubject {
  readonly server: Pick<ServeProcess, "port" | "pid" | "loopDelay">;
  readonly generator: Generator;
  readonly expected: string;
  /** How a request says until when it is of use. */
  readonly asks: OverloadRequest;
}

export function stream(
  subject: OverloadSubject,
  name: string,
  perSecond: number,
  seconds: number,
  seed: number,
  headers: Readonly<Record<string, string>> = {},
  withinMs: number = deadlineMs,
): Stream {
  const all = poissonArrivals(perSecond, Math.ceil(perSecond * seconds * 1.3) + 10, seed);
  return {
    name,
    path: "/v2/models/small/infer",
    ...subject.asks(withinMs - wayBackMs, headers),
    arrivals: all.filter((atMs) => atMs < seconds * 1000),
    deadlineMs: withinMs,
    expected: subject.expected,
  };
}

/** The form of requests to our servers. */
export function asksUs(
  withinMs: number,
  headers: Readonly<Record<string, string>>,
): ReturnType<OverloadRequest> {
  return {
    headers: { "longshore-deadline": String(withinMs), ...headers },
    json: binaryRequest(rowShape),
    tensorBytes,
  };
}

/** Right answers inside their deadline, counted from the planned arrival. */
export function good({ statuses, latencyMs }: StreamResult): number {
  return statuses.filter((status, index) => status === 200 && (latencyMs[index] ?? Infinity) <= deadlineMs)
    .length;
}

export function refusals({ statuses, serverMs }: StreamResult): readonly number[] {
  return serverMs.filter((_, index) => (statuses[index] ?? 0) >= 400);
}

export function answered({ statuses, latencyMs }: StreamResult): readonly number[] {
  return latencyMs.filter((_, index) => statuses[index] === 200);
}

/** The most right answers a second in a ramp of loads: the reference for the others. */
export async function capacity(subject: OverloadSubject): Promise<number> {
  let most = 0;
  for (const [round, perSecond] of [10, 20, 40, 60, 80, 120, 180, 270].entries()) {
    const { goodPerSecond } = await open(subject, "ramp", perSecond, 2, round);
    if (perSecond > 2 * most && round > 3) break;
    most = Math.max(most, goodPerSecond);
  }
  return most;
}

export interface Phase {
  readonly name: string;
  readonly loop: LoopDelay;
  readonly result: PhaseResult;
  readonly goodPerSecond: number;
}

export async function open(
  subject: OverloadSubject,
  name: string,
  perSecond: number,
  seconds: number,
  seed: number,
): Promise<Phase> {
  const result = await subject.generator.run(subject.server.port, [
    stream(subject, name, perSecond, seconds, seed),
  ]);
  const [one] = result.streams;
  return {
    name,
    result,
    loop: await subject.server.loopDelay(),
    goodPerSecond: one ? good(one) / seconds : 0,
  };
}

export function rowOf(phase: Phase, round: number): Row {
  const [one] = phase.result.streams;
  const refused = one ? refusals(one) : [];
  const times = one ? answered(one) : [];
  return {
    phase: phase.name,
    round,
    sent: one?.statuses.length ?? 0,
    goodPerSecond: phase.goodPerSecond,
    late: one ? times.length - good(one) : 0,
    wrong: one?.statuses.filter((status) => status === -1).length ?? 0,
    broken: one?.statuses.filter((status) => status === 0).length ?? 0,
    dropped: one?.statuses.filter((status) => status === 1).length ?? 0,
    refused: refused.length,
    refusalP99Ms: refused.length > 0 ? quantile(refused, 0.99) : null,
    p50Ms: times.length > 0 ? quantile(times, 0.5) : null,
    p99Ms: times.length > 0 ? quantile(times, 0.99) : null,
    generatorCpu: phase.result.cpuRatio,
    generatorLagMs: phase.result.lagMs,
    connections: phase.result.connections,
    loopMaxMs: phase.loop.maxMs,
    loopP99Ms: phase.loop.p99Ms,
    loopBusyMaxMs: phase.loop.busyMaxMs,
  };
}

export function told(row: Row): string {
  const number = (value: Row[string] | undefined): string =>
    typeof value === "number" && Number.isFinite(value) ? value.toFixed(1) : "-";
  return `  ${String(row["phase"]).padEnd(10)} good ${number(row["goodPerSecond"])}/s of ${row["sent"]} sent, late ${row["late"]}, dropped ${row["dropped"]}, wrong ${row["wrong"]}, broken ${row["broken"]}, refused ${row["refused"]} (p99 ${number(row["refusalP99Ms"])} ms), p50 ${number(row["p50Ms"])} p99 ${number(row["p99Ms"])} ms; generator ${number(Number(row["generatorCpu"]) * 100)} % of a core, ${number(row["generatorLagMs"])} ms late; server's loop late by ${number(row["loopMaxMs"])} ms at most, p99 ${number(row["loopP99Ms"])} ms, at work for ${number(row["loopBusyMaxMs"])} ms at most`;
}

/** `--rounds N`; default 7. */
export function roundsOf(args: readonly string[]): number {
  return numberOf(args, "rounds", 7);
}
