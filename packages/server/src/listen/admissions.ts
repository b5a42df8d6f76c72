import type { Socket } from "node:net";
import { LongshoreError, type WireResponse } from "@longshore/core";
import { type ConnectionAdmission, createConnectionGuard, writeWireError } from "@longshore/core/internal";
import type { CompleteHttpOptions } from "./options.ts";

/** The connections of a listener and whether they may be served. */
export interface Admissions {
  /** Counts an accepted connection. Undefined: it is one too many and was destroyed. */
  accept(accepted: Socket): ConnectionAdmission | undefined;
  /** The connection goes on over another socket, which is destroyed instead of the accepted one. */
  movedTo(accepted: Socket, socket: Socket): void;
  /** The TLS handshake is done: finds the accepted connection below. */
  deciphered(socket: Socket): void;
  /** Undefined for a connection that is gone. */
  of(socket: Socket): ConnectionAdmission | undefined;
  destroyAll(): void;
}

const nameOf = ({ remoteAddress, remotePort }: Socket): string => `${remoteAddress} ${remotePort}`;

/** Counts the connections of a listener. */
export function createAdmissions(options: CompleteHttpOptions): Admissions {
  const guard = createConnectionGuard(options, options.clock);
  const admissions = new WeakMap<Socket, ConnectionAdmission>();
  /** The socket that each live connection is read from, by the accepted socket; `byName` has the accepted one by its other end. */
  const live = new Map<Socket, Socket>();
  const byName = new Map<string, Socket>();
  return {
    accept(accepted) {
      const admission = guard.admit(accepted.remoteAddress, () => live.get(accepted)?.destroy());
      if (!admission) {
        accepted.destroy();
        return undefined;
      }
      const name = nameOf(accepted);
      admissions.set(accepted, admission);
      live.set(accepted, accepted);
      if (options.tls) byName.set(name, accepted);
      accepted.once("close", () => {
        live.delete(accepted);
        if (byName.get(name) === accepted) byName.delete(name);
        admission.left();
      });
      return admission;
    },
    movedTo(accepted, socket) {
      const admission = admissions.get(accepted);
      if (!admission || !live.has(accepted)) return;
      admissions.set(socket, admission);
      live.set(accepted, socket);
    },
    deciphered(socket) {
      const accepted = byName.get(nameOf(socket));
      const admission = accepted && admissions.get(accepted);
      if (admission) admissions.set(socket, admission);
    },
    of: (socket) => admissions.get(socket),
    destroyAll() {
      for (const socket of live.values()) socket.destroy();
    },
  };
}

const probes: ReadonlySet<string> = new Set([
  "/v2/health/live",
  "/v2/health/ready",
  "/healthz",
  "/livez",
  "/readyz",
]);

/** Health probes, which are answered over any connection. */
export function isProbe(path: string): boolean {
  const [plain] = path.split("?", 1);
  return probes.has(plain ?? "");
}

/** The reply to a request over a connection beyond the limits; undefined when it may be served. */
export function beyondLimits(
  admission: ConnectionAdmission | undefined,
  path: string,
  callId: string,
): WireResponse | undefined {
  if (!admission?.probesOnly || isProbe(path)) return undefined;
  try {
    admission.demand();
    return undefined;
  } catch (thrown) {
    const error = LongshoreError.from(thrown, "admission", "taking the request");
    const { status, headers, bytes } = writeWireError(error, callId);
    return { status, headers, body: { kind: "parts", parts: [bytes] } };
  }
}
