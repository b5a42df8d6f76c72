import type { Late, LongshoreError } from "../../words/base/index.ts";
import type { LoadReport } from "../../wire/endpoint/index.ts";
import type { TransferNote } from "../../wire/transport/index.ts";
import type { Leg } from "../../decide/plan/index.ts";
import type { GuardWatch } from "./guard-watch.ts";
import type { EndpointState, LocalRun, RadioUse } from "../endpoints/index.ts";
import type { Hold } from "../account/index.ts";

/** A leg under way: its expected time, and what was received of it. */
export interface Running {
  readonly leg: Leg;
  readonly startedMs: number;
  readonly cancel: (reason: LongshoreError) => void;
  /** Its endpoint; undefined for this device. */
  readonly endpoint: EndpointState | undefined;
  /** Its longest likely time after its body has arrived, without a queue; see `lateAloneMs`. Infinity here. */
  readonly aloneMs: number;
  /** The same, and what waited at the endpoint when it started. */
  readonly usualMs: number;
  /** Time that it added to the believed queue of its endpoint when it started, in milliseconds. */
  readonly addedMs: number;
  /** Its slot at this endpoint. */
  readonly work: LocalRun | undefined;
  /** Cancels it when its cost reaches the limit, if the endpoint enforces no limit itself. */
  ends: Disposable | undefined;
  /** Its guard, if another run may start in its place. */
  watch: GuardWatch | undefined;
  /** Its reservation, if the request has a limit on cost. */
  readonly hold: Hold | undefined;
  /** Its exchange over the radio of this device; undefined here, and if the radio draws nothing. */
  readonly exchange: RadioUse | undefined;
  /** Whether it began while its body was still arriving here. Then its duration depends on its sender, too. */
  readonly waits: boolean;
  /** Start of the server's own time: when the request began, or when its whole body had arrived. Undefined before. */
  beganMs: number | undefined;
  /** When bytes of its body were last acknowledged; its start before that. */
  heardAtMs: number;
  /** Acknowledged bytes of its body. */
  heardBytes: number;
  /** The rest of the transfer of its body by the belief of its link; undefined if the link receives no acknowledgements. */
  way: Pick<TransferNote, "remainingMs" | "quiet"> | undefined;
  /** The longest wait with which the endpoint should take it. */
  readonly mostWaitMs: number | undefined;
  /** How busy its endpoint was when it did not take it. */
  refused: LoadReport | undefined;
  /** Why it was late when that was last recorded. */
  late: Late | undefined;
}
