/**
 * A network between simulated machines. It moves the bytes that the real protocol writes, with the delays of links, and does to them
 * what faults say. A connection behaves as TCP does: bytes come in order or not at all, the death of a process resets its
 * connections, and what a partition holds back comes when it heals. Connections are kept and used again, as by the HTTP
 * transport of Node.js, whose rules for a second try it follows.
 */
import {
  type Call,
  type Handler,
  LongshoreError,
  type Transport,
  type WireBody,
  type WireRequest,
  type WireResponse,
} from "@longshore/core";
import {
  abortError,
  bodyLength,
  brokenBody,
  housekeepingCall,
  idempotencyHeader,
  sleep,
  untilAborted,
  whenAborted,
} from "@longshore/core/internal";
import type { VirtualClock } from "@longshore/lab";
import { type ByteStream, byteStream, drained, joined, pieces } from "./byte-stream.ts";
import type { EventLog } from "./event-log.ts";
import type { Machine } from "./machine.ts";
import { flip, type Harm } from "./harm.ts";
import { simulatedLinks } from "./links.ts";

/** The effects of faults at a moment. */
export interface Weather {
  /** Whether no bytes pass between two machines now. */
  cut(from: string, to: string): boolean;
  /** The harm to an exchange that begins now; undefined for most. */
  harm(from: string, to: string, request: WireRequest): Harm | undefined;
}

/** Machines and the links between them. */
export interface Network {
  /** Opens the port of a machine, at `http://` and its name. Dispose to close it. */
  listen(machine: Machine, handler: Handler): Disposable;
  /** A transport from a machine to another one. */
  transport(from: Machine, address: string): Transport;
  /** A partition was healed, or made. */
  changed(): void;
  /** Connections whose exchange is not over. */
  readonly underWay: number;
}

/** The parts of a network. */
export interface NetworkParts {
  readonly world: VirtualClock;
  readonly seed: number;
  readonly weather: Weather;
  readonly log: EventLog;
}

/** The assumed size of a head, in bytes. */
const headBytes = 400;
/** Time to connect, as in the HTTP transport, in milliseconds. */
const connectTimeoutMs = 5000;
/** Time without a byte before a connection counts as dead, in milliseconds. */
const idleTimeoutMs = 60_000;
/** How long an unused connection is kept, in milliseconds. */
const keepAliveMs = 4000;
interface Port {
  readonly machine: Machine;
  readonly handler: Handler;
  open: boolean;
  readonly closing: Set<() => void>;
}

interface Kept {
  readonly port: Port;
  readonly sinceMs: number;
}

/** A network without machines. */
export function simulatedNetwork({ world, seed, weather, log }: NetworkParts): Network {
  const ports = new Map<string, Port>();
  const { carry, mended } = simulatedLinks(world, seed, (from, to) => weather.cut(from, to));
  let connections = 0;
  let underWay = 0;

  function exchange(
    from: Machine,
    to: string,
    request: WireRequest,
    call: Call,
    acknowledged: ((bytes: number) => void) | undefined,
    kept: Kept | undefined,
    keep: (port: Port) => void,
  ): Promise<WireResponse> {
    let resolve: (response: WireResponse) => void = () => undefined;
    let reject: (error: LongshoreError) => void = () => undefined;
    const promise = new Promise<WireResponse>((one, other) => {
      resolve = one;
      reject = other;
    });
    const number = ++connections;
    const harm = weather.harm(from.name, to, request);
    if (harm) log.write(`#${number} ${from.name}>${to} ${harm.kind}`);
    log.write(`#${number} ${from.name}>${to} ${request.method} ${request.path}`);
    underWay += 1;
    let over = false;
    let answered = false;
    let movedAtMs = world.nowMs();
    let replyBody: ByteStream | undefined;
    let death: Disposable | undefined;
    let serverGone: ((error: LongshoreError) => void) | undefined;
    let port: Port | undefined;
    const end = (): void => {
      if (over) return;
      over = true;
      underWay -= 1;
      silence[Symbol.dispose]();
      connecting[Symbol.dispose]();
      stopListening();
      death?.[Symbol.dispose]();
      port?.closing.delete(reset);
    };
    /** The exchange ends for the client with an error; the server hears that the connection is gone. */
    const fail = (error: LongshoreError): void => {
      if (over) return;
      end();
      log.write(`#${number} ${error.reason}`);
      const gone = serverGone;
      if (gone) carry(from.name, to, 0, () => gone(error));
      from.deliver(() => {
        replyBody?.fail(error);
        reject(error);
      });
    };
    const noAnswer = (why: string): LongshoreError =>
      new LongshoreError("no-answer", "transport", `http://${to} did not answer: ${why}`);
    const unreachable = (why: string): LongshoreError =>
      new LongshoreError("unreachable", "transport", `no connection to http://${to}: ${why}`);
    const broken = (): LongshoreError =>
      kept && !answered ? unreachable("the kept connection was closed") : noAnswer("connection reset");
    /** The server's side of the connection is reset: the client hears it over the link. */
    const reset = (): void => {
      carry(to, from.name, 0, () => from.deliver(() => fail(broken())));
    };
    const back = (bytes: number, work: () => void): number =>
      carry(to, from.name, bytes, () => {
        movedAtMs = world.nowMs();
        from.deliver(() => {
          if (!over) work();
        });
      });
    const watch = (): void => {
      const leftMs = movedAtMs + idleTimeoutMs - from.clock.nowMs();
      if (leftMs <= 0) fail(noAnswer("nothing moved for 60 s"));
      else silence = from.clock.timer(leftMs, watch);
    };
    let silence = from.clock.timer(idleTimeoutMs, watch);
    let connecting: Disposable = from.clock.timer(connectTimeoutMs, () => {
      if (!port) fail(unreachable("no connection came about"));
    });
    const onAbort = (): void => fail(abortError(call.abort, "transport"));
    const stopListening = whenAborted(call.abort, onAbort);
    death = from.onDeath(() => {
      const gone = serverGone;
      end();
      if (gone) carry(from.name, to, 0, () => gone(noAnswer("connection reset")));
    });

    const upload = async (arriving: ByteStream, gone: () => boolean): Promise<void> => {
      let sent = 0;
      const length = bodyLength(request.body) ?? 0;
      const flipped = harm?.kind === "flip-request" ? Math.floor(harm.at * length * 8) : undefined;
      try {
        for await (const chunk of pieces(request.body)) {
          if (over || gone()) return;
          const copy = chunk.slice();
          flip(copy, sent, flipped);
          sent += copy.byteLength;
          if (harm?.kind === "cut-request" && sent > harm.afterBytes) {
            const part = copy.subarray(0, Math.max(0, copy.byteLength - (sent - harm.afterBytes)));
            carry(from.name, to, part.byteLength, () => port?.machine.deliver(() => arriving.push(part)));
            carry(from.name, to, 0, () => serverGone?.(noAnswer("connection reset")));
            carry(to, from.name, 0, () => from.deliver(() => fail(broken())));
            return;
          }
          const busyMs = carry(from.name, to, copy.byteLength, () => {
            movedAtMs = world.nowMs();
            port?.machine.deliver(() => arriving.push(copy));
          });
          if (busyMs > 0.01) await sleep(from.clock, busyMs);
        }
        carry(from.name, to, 0, () => port?.machine.deliver(() => arriving.end()));
      } catch (thrown) {
        fail(LongshoreError.from(thrown, "transport", "sending the body"));
      }
    };

    const download = async (response: WireResponse, stopped: () => boolean): Promise<void> => {
      const { status, headers, body } = response;
      const stream = byteStream(() => fail(new LongshoreError("cancelled", "transport", "the reader left")));
      const length = bodyLength(body);
      const flipped = harm?.kind === "flip-reply" ? Math.floor(harm.at * (length ?? 0) * 8) : undefined;
      back(headBytes, () => {
        if (answered) return;
        answered = true;
        replyBody = stream;
        log.write(`#${number} ${status}`);
        resolve({
          status,
          headers: { ...headers },
          body: { kind: "stream", byteLength: length, read: () => stream.read() },
        });
      });
      let sent = 0;
      const server = port?.machine;
      try {
        for await (const chunk of pieces(body)) {
          if (stopped()) return;
          const copy = chunk.slice();
          flip(copy, sent, flipped);
          sent += copy.byteLength;
          if (harm?.kind === "cut-reply" && sent > harm.afterBytes) {
            const part = copy.subarray(0, Math.max(0, copy.byteLength - (sent - harm.afterBytes)));
            back(part.byteLength, () => stream.push(part));
            reset();
            return;
          }
          const busyMs = back(copy.byteLength, () => stream.push(copy));
          if (busyMs > 0.01 && server) await sleep(server.clock, busyMs);
        }
        back(0, () => {
          stream.end();
          end();
          if (port) keep(port);
        });
      } catch {
        // A body that its server cannot give to its end breaks the connection.
        reset();
      }
    };

    /** The server has the head of the request. */
    const serve = (to: Port, copyOf: Uint8Array | undefined): void => {
      const control = new AbortController();
      let stopped = false;
      const arriving = byteStream();
      const length = bodyLength(request.body);
      const body: WireBody = copyOf
        ? { kind: "parts", parts: [copyOf] }
        : length === 0
          ? { kind: "parts", parts: [] }
          : { kind: "stream", byteLength: length, read: () => arriving.read() };
      const first = copyOf === undefined;
      if (first) {
        serverGone = (error) =>
          to.machine.deliver(() => {
            stopped = true;
            arriving.fail(brokenBody("the connection closed before the whole body had come"));
            control.abort(
              new LongshoreError("cancelled", "transport", "the client closed the connection", {
                cause: error,
              }),
            );
          });
      }
      const received = (bytes: number): void => {
        if (first) back(60, () => acknowledged?.(bytes));
      };
      const base = housekeepingCall(`${from.name}-${number}${first ? "" : "-double"}`, control.signal);
      const incoming: WireRequest = {
        method: request.method,
        path: request.path,
        headers: { host: to.machine.name, ...request.headers },
        body,
        peer: { address: from.name, loopback: false },
      };
      void to
        .handler(incoming, base, received)
        .then(async (response) => {
          if (!first || harm?.kind === "lose-reply") return await drained(response.body);
          if (harm?.kind === "late-reply") await sleep(to.machine.clock, harm.byMs);
          if (!stopped) await download(response, () => stopped);
        })
        .catch((thrown: unknown) => {
          const error = LongshoreError.from(thrown, "transport", "answering");
          log.write(`#${number} handler threw ${error.reason} ${error.message}`);
          if (first) reset();
        });
      if (first && length !== 0) void upload(arriving, () => stopped);
    };

    const accepted = (found: Port): void => {
      found.closing.add(reset);
      port = found;
      if (harm?.kind === "reset") {
        reset();
        return;
      }
      if (harm?.kind === "lose-request") return;
      const head = (): void => {
        movedAtMs = world.nowMs();
        found.machine.deliver(() => {
          // Bytes from before a reset are thrown away with the connection.
          if (found.machine.state === "dead" || over) return;
          serve(found, undefined);
        });
      };
      carry(from.name, to, headBytes, head);
      if (harm?.kind === "double-request" && request.body.kind === "parts") {
        const copy = joined(request.body.parts);
        carry(from.name, to, headBytes + copy.byteLength, () => {
          world.timer(harm.laterMs, () => found.machine.deliver(() => serve(found, copy)));
        });
      }
    };

    if (kept) {
      connecting[Symbol.dispose]();
      if (kept.port.open) accepted(kept.port);
      else carry(from.name, to, headBytes, reset);
    } else {
      carry(from.name, to, 60, () => {
        const found = ports.get(to);
        if (!found?.open) {
          back(60, () => fail(unreachable("ECONNREFUSED")));
          return;
        }
        back(60, () => {
          connecting[Symbol.dispose]();
          if (found.open) accepted(found);
          else fail(broken());
        });
      });
    }
    return promise;
  }

  return {
    get underWay() {
      return underWay;
    },
    listen(machine, handler) {
      const port: Port = { machine, handler, open: true, closing: new Set() };
      ports.set(machine.name, port);
      const close = (): void => {
        if (!port.open) return;
        port.open = false;
        if (ports.get(machine.name) === port) ports.delete(machine.name);
        for (const reset of port.closing) reset();
        port.closing.clear();
      };
      machine.onDeath(close);
      return { [Symbol.dispose]: close };
    },
    transport(from, address) {
      const to = address.replace(/^http:\/\//, "");
      let closed = false;
      const free: Kept[] = [];
      return {
        progress: "acknowledged",
        async send(request, call, acknowledged) {
          if (closed) throw new LongshoreError("unreachable", "transport", "the transport is closed");
          if (call.abort.aborted) throw abortError(call.abort, "transport");
          const keep = (port: Port): void => void free.push({ port, sinceMs: world.nowMs() });
          let kept: Kept | undefined;
          for (;;) {
            kept = free.pop();
            if (!kept || world.nowMs() - kept.sinceMs < keepAliveMs) break;
          }
          const once = (over: Kept | undefined): Promise<WireResponse> =>
            untilAborted(
              exchange(from, to, request, call, acknowledged, over, keep),
              call.abort,
              "transport",
            );
          const repeatable =
            request.body.kind === "parts" &&
            (request.repeatable === true || request.method === "GET" || idempotencyHeader in request.headers);
          try {
            return await once(kept);
          } catch (thrown) {
            const again =
              kept &&
              repeatable &&
              LongshoreError.is(thrown) &&
              thrown.reason === "unreachable" &&
              !call.abort.aborted;
            if (!again) throw thrown;
            free.length = 0;
            return await once(undefined);
          }
        },
        async close() {
          closed = true;
          free.length = 0;
        },
      };
    },
    changed: mended,
  };
}
