import type { Call, Peer } from "@longshore/core";

/** One call of a method that this package does not know, as its messages in bytes. */
export interface MethodCall {
  /** Metadata with lower-case names, `host` among them. */
  readonly headers: Readonly<Record<string, string>>;
  readonly peer: Peer;
  /** Has id, abort and deadline (`grpc-timeout`). It is aborted when the client gives up or the deadline passes. */
  readonly call: Call;
  /** Fires when the server begins to drain. */
  readonly draining: AbortSignal;
  /**
   * The next message, in memory of its own; undefined when the client has sent its last. Flow control holds the client back
   * between calls. Throws when the call has ended, and `body-too-large` for a message beyond the limit of the listener.
   */
  next(): Promise<Uint8Array | undefined>;
  /** Sends a message; resolves when another may follow. Does nothing when the call has ended. */
  send(message: Uint8Array): Promise<void>;
}

/** Serves a call: reads and sends any number of messages, in any order. An error becomes the status. */
export type Method = (call: MethodCall) => Promise<void>;

/**
 * A service besides inference, by methods. The messages of each are bytes here; a service brings their schema.
 *
 * @example
 * ```ts
 * import type { GrpcService } from "@longshore/grpc";
 *
 * const echo: GrpcService = {
 *   name: "example.Echo",
 *   methods: {
 *     async Talk({ next, send }) {
 *       for (let message = await next(); message; message = await next()) await send(message);
 *     },
 *   },
 * };
 * console.log(Object.keys(echo.methods)[0]); // Talk
 * ```
 */
export interface GrpcService {
  /** With its package, such as `envoy.service.ext_proc.v3.ExternalProcessor`. Health checks know it by this name. */
  readonly name: string;
  readonly methods: Readonly<Record<string, Method>>;
}

/** Services by the paths of their methods. */
export function methodPaths(services: readonly GrpcService[]): ReadonlyMap<string, Method> {
  return new Map(
    services.flatMap(({ name, methods }) =>
      Object.entries(methods).map(([method, serve]) => [`/${name}/${method}`, serve] as const),
    ),
  );
}
