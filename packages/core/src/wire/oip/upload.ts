import type { Call } from "../../words/base/index.ts";
import { bodyLength } from "../body/index.ts";
import type { Progress } from "../endpoint/index.ts";
import { acknowledgeHeader, probePath } from "../protocol/index.ts";
import {
  acknowledgeStep,
  probeHeadBytes,
  probeStep,
  tinyBytes,
  type TransferNote,
  type WireRequest,
} from "../transport/index.ts";
import type { OipEndpointParts } from "./parts.ts";

/** A request whose headers are no one else's: the exchange adds its own. */
export type OwnRequest = Omit<WireRequest, "headers"> & { readonly headers: Record<string, string> };

/** A request on its way to a server, followed for its sender and for the belief about the link. */
export class Upload {
  readonly bytes: number;
  /** It only measures the link. */
  readonly probes: boolean;
  /** From here on the time is that of the server and the link. */
  startedMs: number;
  readonly #parts: OipEndpointParts;
  readonly #callId: string;
  readonly #progress: Progress | undefined;
  /** The server acknowledges what it has of the body. */
  readonly #acknowledges: boolean;
  /** Of a train that only measures the link: the bytes before the body. Else 0, since they are unknown. */
  readonly #headBytes: number;
  #note: TransferNote | undefined;
  #most = 0;

  /**
   * Requests acknowledgements, if they are worth their bytes.
   *
   * @param waits The body is still on its way here: its pace says nothing of the link.
   */
  constructor(
    parts: OipEndpointParts,
    { path, headers, body }: OwnRequest,
    call: Call,
    progress: Progress | undefined,
    waits: boolean,
  ) {
    const { clock, info, link, transport, acknowledgeBytes } = parts;
    const bytes = bodyLength(body) ?? 0;
    const probes = path === probePath && bytes > 0;
    const step = acknowledgeBytes ?? (probes ? probeStep(bytes) : acknowledgeStep(bytes));
    const tells = info.offers && transport.progress === "acknowledged" && step > 0;
    const inSteps = tells && bytes > step;
    if (inSteps) headers[acknowledgeHeader] = String(step);
    this.bytes = bytes;
    this.probes = probes;
    this.startedMs = clock.nowMs();
    this.#parts = parts;
    this.#callId = call.id;
    this.#progress = progress;
    // A train is answered as soon as it is there: the answer acknowledges the last of it, and silence before says something.
    this.#acknowledges = inSteps || (tells && probes);
    this.#headBytes = probes ? probeHeadBytes : 0;
    if (waits || (bytes < tinyBytes && !probes)) return;
    const kind = this.#acknowledges ? "acknowledged" : "none";
    this.#note = link?.sendStarted(this.#headBytes + bytes, "up", this.startedMs, kind);
    if (this.#note && this.#acknowledges) progress?.onItsWay?.(this.#note);
  }

  readonly acknowledged = (total: number): void => {
    const nowMs = this.#parts.clock.nowMs();
    this.#seen(total, nowMs);
    if (this.#most === this.bytes) this.#end(nowMs, true, 0);
  };

  /** The server has all of it, and took `serverMs` for its own work. */
  arrived(nowMs: number, serverMs: number): void {
    if (this.bytes > 0) this.#seen(this.bytes, nowMs);
    this.#end(nowMs, true, serverMs);
  }

  /** Nothing more is sent, whether all of it has arrived or not. */
  over(): void {
    if (this.#note) this.#end(this.#parts.clock.nowMs(), false, 0);
  }

  /** The server refused or closed the connection. */
  broke(): void {
    this.#note?.broke?.(this.#parts.clock.nowMs());
    if (this.#note?.broke) this.#note = undefined;
  }

  #seen(total: number, nowMs: number): void {
    // Acknowledgements come from outside: they only ever grow, and never beyond what was sent.
    if (!(total > this.#most && total <= this.bytes)) return;
    this.#most = total;
    // Without acknowledgements this moment is the reply's, and `ended` tells what of it was the server's work.
    if (this.#acknowledges) this.#note?.progressed(this.#headBytes + total, nowMs);
    this.#progress?.acknowledged(total);
    const { observer, info } = this.#parts;
    observer.record({
      kind: "bytes-acknowledged",
      atMs: nowMs,
      callId: this.#callId,
      endpoint: info.id,
      bytes: total,
    });
  }

  #end(nowMs: number, complete: boolean, otherMs: number): void {
    this.#note?.ended(nowMs, complete, otherMs);
    this.#note = undefined;
  }
}
