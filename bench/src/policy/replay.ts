/**
 * Replays a policy on a recorded uplink: requests arrive, uploads share the link in the order of their start, local runs
 * share the device, and both are charged for what was started in vain. The network is packet opportunities and a fixed
 * round trip: no slow start, no loss. Time moves in ticks; instants inside a tick are exact.
 */
import { packetBytes, packetsOf, type TcpOptions, type Trace } from "@longshore/lab";
import type { ReplayPolicy, RequestFacts, Sight } from "./policy.ts";

/** One row of a replay. */
export interface ReplaySetting {
  readonly trace: Trace;
  readonly requestBytes: number;
  readonly localMs: number;
  readonly serverMs: number;
  readonly roundTripMs: number;
  /** Distance of requests in milliseconds, or their instants. */
  readonly arrivals: number | readonly number[];
  /** Default: one round of the trace. */
  readonly lengthMs?: number;
  /** `fifo`: one run at a time. `parallel`: local runs do not wait for each other. Default `fifo`. */
  readonly device?: "fifo" | "parallel";
  /** `fifo`: uploads queue. `alone`: each upload has the whole link, as in many papers. Default `fifo`. */
  readonly link?: "fifo" | "alone";
  /** The bytes that a cancelled upload leaves on the link; default 64 kB. */
  readonly clogBytes?: number;
  /** Default 10 ms. */
  readonly tickMs?: number;
  /** Service time over `serverMs` at each moment; default 1. */
  readonly serverFactorAt?: (atMs: number) => number;
  /** Round trip at each moment, in place of `roundTripMs`. */
  readonly roundTripAt?: (atMs: number) => number;
  /** Uploads of the offloader are sent by TCP, with slow start and this loss. Replayed policies never are. */
  readonly tcp?: TcpOptions;
}

/** From the delivery of an upload until its reply is here. */
export function replyAfterMs(setting: ReplaySetting, deliveredMs: number): number {
  const tripMs = setting.roundTripAt?.(deliveredMs) ?? setting.roundTripMs;
  return tripMs + setting.serverMs * (setting.serverFactorAt?.(deliveredMs + tripMs / 2) ?? 1);
}

/** The result of a replay. Times in milliseconds. */
export interface ReplayResult {
  readonly policy: string;
  readonly tookMs: Float64Array;
  readonly meanMs: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  /** Share of requests that ran on both sides, that did so and were answered from afar, and that were sent at all. */
  readonly extraRatio: number;
  readonly inVainRatio: number;
  readonly remoteRatio: number;
  /** Share of the link's capacity that went to probes. */
  readonly probeRatio: number;
}

interface Upload {
  readonly id: number;
  readonly startMs: number;
  readonly bytes: number;
  readonly packets: number;
  /** Packets that will be sent: fewer once it is cancelled. */
  due: number;
  delivered: number;
  cancelled: boolean;
}

interface Request extends RequestFacts {
  upload: Upload | undefined;
  replyMs: number;
  localFinishMs: number;
  backupAtMs: number;
  localQueued: boolean;
  over: boolean;
}

/** Runs one policy through one setting. Deterministic. */
export function replay(setting: ReplaySetting, policy: ReplayPolicy): ReplayResult {
  const { trace, localMs, serverMs, roundTripMs, tickMs = 10, clogBytes = 65_536 } = setting;
  const lengthMs = setting.lengthMs ?? trace.lengthMs;
  const arrivals = arrivalsOf(setting);
  const alone = setting.link === "alone";
  const parallel = setting.device === "parallel";
  const uploads: Upload[] = [];
  const acknowledgements: { readonly atMs: number; readonly upload: Upload; readonly packets: number }[] = [];
  const live: Request[] = [];
  const deviceQueue: { readonly request: Request; readonly queuedMs: number }[] = [];
  const tookMs = new Float64Array(arrivals.length);
  let position = 0;
  let deviceFreeMs = 0;
  let deviceQueued = 0;
  let nextArrival = 0;
  let probes = 0;
  let probePackets = 0;
  let extra = 0;
  let inVain = 0;
  let remote = 0;
  let done = 0;
  /** Acknowledgements keep their order. */
  let lastNoteMs = -Infinity;
  /** Before these instants no request ends, and no back-up starts: no need to look at each. */
  let nextEndMs = Infinity;
  let nextBackupMs = Infinity;

  const sight = (nowMs: number): Sight => ({
    nowMs,
    localMs,
    localWaitMs: parallel ? 0 : Math.max(0, deviceFreeMs - nowMs) + deviceQueued * localMs,
    serverMs,
    roundTripMs,
    ideal: {
      packetsBetween: (fromMs, toMs) => trace.positionAt(toMs) - trace.positionAt(Math.max(0, fromMs)),
      replyAtMs(bytes) {
        const queued = alone ? 0 : uploads.reduce((sum, one) => sum + one.due - one.delivered, 0);
        const from = alone ? trace.positionAt(nowMs) : Math.max(position, trace.positionAt(nowMs));
        const deliveredMs = trace.instantOf(from + queued + packetsOf(bytes));
        return deliveredMs + replyAfterMs(setting, deliveredMs);
      },
    },
  });

  function startUpload(id: number, bytes: number, nowMs: number): Upload {
    const packets = packetsOf(bytes);
    const upload = { id, startMs: nowMs, bytes, packets, due: packets, delivered: 0, cancelled: false };
    uploads.push(upload);
    policy.sent?.(id, bytes, nowMs);
    return upload;
  }

  function queueLocal(request: Request, nowMs: number): void {
    request.localQueued = true;
    if (request.upload) policy.backupStarted?.(request.id);
    if (parallel) {
      request.localFinishMs = nowMs + localMs;
      nextEndMs = Math.min(nextEndMs, request.localFinishMs);
      if (request.upload) extra += 1;
    } else {
      deviceQueue.push({ request, queuedMs: nowMs });
      deviceQueued += 1;
    }
  }

  /** Starts what waits for the device and could begin before `untilMs`. */
  function runDevice(untilMs: number): void {
    for (let next = deviceQueue[0]; next; next = deviceQueue[0]) {
      const startMs = Math.max(deviceFreeMs, next.queuedMs);
      if (startMs >= untilMs) return;
      deviceQueue.shift();
      deviceQueued -= 1;
      // A run that still waits when its answer is here is dropped; one that has begun is not.
      const { request } = next;
      if (request.over || request.replyMs <= startMs) continue;
      deviceFreeMs = startMs + localMs;
      request.localFinishMs = deviceFreeMs;
      nextEndMs = Math.min(nextEndMs, deviceFreeMs);
      if (request.upload) extra += 1;
    }
  }

  function deliver(upload: Upload, count: number, atMs: number): void {
    upload.delivered += count;
    if (upload.id < 0) probePackets += count;
    const tripMs = setting.roundTripAt?.(atMs) ?? roundTripMs;
    lastNoteMs = Math.max(lastNoteMs, atMs + tripMs);
    if (!upload.cancelled) acknowledgements.push({ atMs: lastNoteMs, upload, packets: upload.delivered });
    if (upload.delivered >= upload.packets) {
      const request = live.find((one) => one.upload === upload);
      if (!request) return;
      request.replyMs = atMs + replyAfterMs(setting, atMs);
      nextEndMs = Math.min(nextEndMs, request.replyMs);
    }
  }

  /** Lets the link carry what it can before `untilMs`. */
  function runLink(untilMs: number): void {
    if (alone) {
      for (const upload of uploads) {
        const base = trace.positionAt(upload.startMs);
        for (;;) {
          const atMs = trace.instantOf(base + upload.delivered + 1);
          if (upload.delivered >= upload.due || atMs >= untilMs) break;
          deliver(upload, 1, atMs);
        }
      }
    } else {
      for (let head = uploads[0]; head; head = uploads[0]) {
        if (head.delivered >= head.due) {
          uploads.shift();
          continue;
        }
        position = Math.max(position, trace.positionAt(head.startMs));
        const atMs = trace.instantOf(position + 1);
        if (atMs >= untilMs) return;
        position += 1;
        deliver(head, 1, atMs);
      }
    }
    while (uploads[0] && uploads[0].delivered >= uploads[0].due) uploads.shift();
  }

  function tellAcknowledgements(untilMs: number): void {
    let index = 0;
    for (; index < acknowledgements.length; index++) {
      const note = acknowledgements[index];
      if (!note || note.atMs >= untilMs) break;
      if (note.upload.cancelled) continue;
      policy.acknowledged?.(
        note.upload.id,
        Math.min(note.upload.bytes, note.packets * packetBytes),
        note.atMs,
      );
      if (note.packets >= note.upload.packets) policy.sendEnded?.(note.upload.id, true, note.atMs);
    }
    acknowledgements.splice(0, index);
  }

  function endRequests(untilMs: number): void {
    if (nextEndMs >= untilMs) return;
    nextEndMs = Infinity;
    for (let index = live.length - 1; index >= 0; index--) {
      const request = live[index];
      if (!request) continue;
      const endMs = Math.min(request.replyMs, request.localFinishMs);
      if (endMs >= untilMs) {
        nextEndMs = Math.min(nextEndMs, endMs);
        continue;
      }
      request.over = true;
      live.splice(index, 1);
      tookMs[request.id] = endMs - request.arrivedMs;
      done += 1;
      if (request.upload && request.localFinishMs < Infinity && request.replyMs < request.localFinishMs)
        inVain += 1;
      const { upload } = request;
      if (upload && endMs < request.replyMs - serverMs - 1e-9 && !upload.cancelled) {
        upload.cancelled = true;
        const left = Math.min(upload.packets - upload.delivered, Math.floor(clogBytes / packetBytes));
        upload.due = upload.delivered + (alone ? 0 : left);
        policy.sendEnded?.(request.id, false, endMs);
      }
      policy.ended?.({
        id: request.id,
        tookMs: endMs - request.arrivedMs,
        ranRemote: upload !== undefined,
        ranLocal: request.localFinishMs < Infinity,
      });
    }
  }

  function arrive(request: Request): void {
    const choice = policy.arrived(request, sight(request.arrivedMs));
    live.push(request);
    if (choice.where === "local") {
      queueLocal(request, request.arrivedMs);
      return;
    }
    remote += 1;
    request.upload = startUpload(request.id, request.bytes, request.arrivedMs);
    request.backupAtMs = request.arrivedMs + choice.backupMs;
    nextBackupMs = Math.min(nextBackupMs, request.backupAtMs);
  }

  function startBackups(tickStartMs: number, endMs: number): void {
    if (nextBackupMs >= endMs) return;
    nextBackupMs = Infinity;
    for (const request of live) {
      if (request.localQueued || !request.upload || request.replyMs < tickStartMs) continue;
      if (request.backupAtMs < endMs && request.backupAtMs < request.replyMs) {
        queueLocal(request, Math.max(request.backupAtMs, request.arrivedMs));
      } else nextBackupMs = Math.min(nextBackupMs, request.backupAtMs);
    }
  }

  for (let tickStartMs = 0; done < arrivals.length; tickStartMs += tickMs) {
    const endMs = tickStartMs + tickMs;
    for (; nextArrival < arrivals.length; nextArrival++) {
      const arrivedMs = arrivals[nextArrival] ?? 0;
      if (arrivedMs >= endMs) break;
      arrive({
        id: nextArrival,
        bytes: setting.requestBytes,
        arrivedMs,
        upload: undefined,
        replyMs: Infinity,
        localFinishMs: Infinity,
        backupAtMs: Infinity,
        localQueued: false,
        over: false,
      });
    }
    startBackups(tickStartMs, endMs);
    const probeBytes = policy.probe?.(sight(tickStartMs)) ?? 0;
    if (probeBytes > 0) {
      probes += 1;
      startUpload(-probes, probeBytes, tickStartMs);
    }
    runLink(endMs);
    runDevice(endMs);
    tellAcknowledgements(endMs);
    endRequests(endMs);
  }
  return resultOf(policy.name, tookMs, {
    extraRatio: extra / arrivals.length,
    inVainRatio: inVain / arrivals.length,
    remoteRatio: remote / arrivals.length,
    probeRatio: probePackets / Math.max(1, (trace.packets * lengthMs) / trace.lengthMs),
  });
}

/** The figures of a replay from its times. */
export function resultOf(
  policy: string,
  tookMs: Float64Array,
  shares: Pick<ReplayResult, "extraRatio" | "inVainRatio" | "remoteRatio" | "probeRatio">,
): ReplayResult {
  const sorted = tookMs.toSorted();
  const at = (ratio: number): number =>
    sorted[Math.min(sorted.length - 1, Math.floor(ratio * sorted.length))] ?? NaN;
  return {
    policy,
    tookMs,
    meanMs: tookMs.reduce((sum, one) => sum + one, 0) / tookMs.length,
    p50Ms: at(0.5),
    p95Ms: at(0.95),
    p99Ms: at(0.99),
    ...shares,
  };
}

/** The instants of a setting's requests. */
export function arrivalsOf(setting: ReplaySetting): readonly number[] {
  const { arrivals, trace, lengthMs = trace.lengthMs } = setting;
  if (typeof arrivals !== "number") return arrivals.filter((at) => at < lengthMs);
  return Array.from({ length: Math.floor(lengthMs / arrivals) }, (_, index) => index * arrivals);
}
