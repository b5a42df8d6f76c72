import {
  type Call,
  type Clock,
  type Handler,
  LongshoreError,
  readBody,
  type Transport,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import { abortError, acknowledgeHeader, whenAborted } from "@longshore/core/internal";
import type { EmulatedLink } from "./emulated-link.ts";

/** Bounds of a transport over an emulated link. */
export interface EmulatedTransportOptions {
  /** How long a cut link is tried before the request fails as `unreachable`; default 3 s. */
  readonly connectMs?: number;
  /** How long nothing may happen before the request fails as `no-answer`; default 30 s. */
  readonly silenceMs?: number;
  /** Largest body in either direction; default 256 MB. */
  readonly maxBodyBytes?: number;
}

/** Bytes of a message besides its body: request line or status, and headers. */
function headBytes(headers: Readonly<Record<string, string>>): number {
  return Object.entries(headers).reduce((sum, [name, value]) => sum + name.length + value.length + 4, 64);
}

/**
 * A transport whose bytes cross an emulated link to a handler, in the simulator between `oipEndpoint` and a server. Bodies are
 * charged at their real size, acknowledgements come back with the link's delay.
 */
export function emulatedTransport(
  handler: Handler,
  link: EmulatedLink,
  clock: Clock,
  options: EmulatedTransportOptions = {},
): Transport {
  const { connectMs = 3000, silenceMs = 30_000, maxBodyBytes = 256_000_000 } = options;
  let closed = false;

  async function exchange(
    request: WireRequest,
    call: Call,
    abort: AbortSignal,
    alive: () => void,
    acknowledged: ((bytes: number) => void) | undefined,
  ): Promise<WireResponse> {
    const body = await readBody(request.body, { maxBytes: maxBodyBytes });
    const head = headBytes(request.headers) + request.path.length;
    let told = 0;
    const asked = request.headers[acknowledgeHeader] !== undefined;
    await link.carry(head + body.byteLength, "up", {
      abort,
      arrived: alive,
      ...(asked
        ? {
            acknowledged(total: number) {
              const bytes = Math.max(0, total - head);
              if (bytes > told) acknowledged?.((told = bytes));
            },
          }
        : {}),
    });
    alive();
    const response = await handler(
      { ...request, body: { kind: "parts", parts: [body] } },
      { ...call, abort },
    );
    const reply = await readBody(response.body, { maxBytes: maxBodyBytes });
    await link.carry(headBytes(response.headers) + reply.byteLength, "down", { abort, arrived: alive });
    return { ...response, body: { kind: "parts", parts: [reply] } };
  }

  return {
    progress: "acknowledged",
    async send(request, call, acknowledged) {
      if (closed) throw new LongshoreError("unreachable", "transport", "the transport is closed");
      const controller = new AbortController();
      const stop = (): void => controller.abort(call.abort.reason);
      if (call.abort.aborted) stop();
      const stopListening = whenAborted(call.abort, stop);
      let heard = false;
      let timer: Disposable | undefined;
      const watch = (): void => {
        timer?.[Symbol.dispose]();
        const waitMs = heard ? silenceMs : link.isCut ? connectMs : silenceMs;
        timer = clock.timer(waitMs, () => {
          controller.abort(
            heard || !link.isCut
              ? new LongshoreError("no-answer", "transport", `nothing came for ${waitMs} ms`)
              : new LongshoreError("unreachable", "transport", `no connection within ${waitMs} ms`),
          );
        });
      };
      watch();
      // A handler may never come back; its later result is ignored.
      const ended = new Promise<never>((_, reject) => {
        const end = (): void => reject(abortError(controller.signal, "transport"));
        if (controller.signal.aborted) end();
        else controller.signal.addEventListener("abort", end, { once: true });
      });
      try {
        const exchanged = exchange(
          request,
          call,
          controller.signal,
          () => {
            heard = true;
            watch();
          },
          acknowledged,
        );
        return await Promise.race([exchanged, ended]);
      } finally {
        timer?.[Symbol.dispose]();
        stopListening();
      }
    },
    close() {
      closed = true;
      return Promise.resolve();
    },
  };
}
