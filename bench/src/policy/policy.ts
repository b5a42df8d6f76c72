/** The input and output of a replay policy: the smallest problem in which offloading decisions differ. */

/** The known facts of one request at its decision. */
export interface RequestFacts {
  readonly id: number;
  readonly bytes: number;
  readonly arrivedMs: number;
}

/** The view of a policy. `ideal` is for reference policies only: no client has it. */
export interface Sight {
  readonly nowMs: number;
  /** One run on the device, and the wait for the device now. */
  readonly localMs: number;
  readonly localWaitMs: number;
  readonly serverMs: number;
  readonly roundTripMs: number;
  readonly ideal: {
    /** Packets that the link could have carried in a span of the past. */
    packetsBetween(fromMs: number, toMs: number): number;
    /** When the reply to an upload of `bytes` that is queued now will be here. */
    replyAtMs(bytes: number): number;
  };
}

/** Where to run first, and when to start the run here as a back-up (from now; Infinity never, 0 at once). */
export type Choice = { readonly where: "local" } | { readonly where: "remote"; readonly backupMs: number };

/** The outcome of a request, reported when it ends. */
export interface Outcome {
  readonly id: number;
  readonly tookMs: number;
  readonly ranRemote: boolean;
  readonly ranLocal: boolean;
}

/** A way to decide. One instance serves one replay; it keeps what it learns. */
export interface ReplayPolicy {
  readonly name: string;
  arrived(request: RequestFacts, sight: Sight): Choice;
  /** The upload of a request was handed over, acknowledged so far, or has ended. Probes have ids below 0. */
  sent?(id: number, bytes: number, nowMs: number): void;
  acknowledged?(id: number, totalBytes: number, nowMs: number): void;
  sendEnded?(id: number, complete: boolean, nowMs: number): void;
  /** The back-up run of a request starts. */
  backupStarted?(id: number): void;
  ended?(outcome: Outcome): void;
  /** Bytes of a probe to send now; 0 for none. Asked every tick. */
  probe?(sight: Sight): number;
}
