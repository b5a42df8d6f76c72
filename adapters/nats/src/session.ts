import { LongshoreError } from "@longshore/core";
import { connect, type NatsConnection, type NodeConnectionOptions } from "@nats-io/transport-node";

/** A connection that is made when it is needed, and again when it broke: its users retry by themselves. */
export interface NatsSession {
  /** Throws `unreachable` where no connection comes about, and what `work` throws, as `no-answer` where it says nothing of its own. */
  use<T>(work: (connection: NatsConnection) => Promise<T>): Promise<T>;
  close(): Promise<void>;
}

const said = (thrown: unknown): string =>
  (thrown instanceof Error ? thrown.message : String(thrown)).slice(0, 200);

/** A failure of NATS in our words. */
export function natsFailure(name: string, thrown: unknown): LongshoreError {
  if (LongshoreError.is(thrown)) return thrown;
  return new LongshoreError("no-answer", "transport", `${name} did not answer: ${said(thrown)}`, {
    cause: thrown,
  });
}

/** Nothing is connected yet. */
export function natsSession(options: NodeConnectionOptions, name: string): NatsSession {
  let open: NatsConnection | undefined;
  /** A caller that comes while a connection is made waits for that one. */
  let making: Promise<NatsConnection> | undefined;
  let closed = false;

  async function make(): Promise<NatsConnection> {
    try {
      open = await connect({
        timeout: 5000,
        ...options,
        reconnect: false,
        pingInterval: 2000,
        maxPingOut: 2,
      });
      return open;
    } catch (thrown) {
      throw new LongshoreError("unreachable", "transport", `${name} cannot be reached: ${said(thrown)}`, {
        cause: thrown,
      });
    } finally {
      making = undefined;
    }
  }

  async function current(): Promise<NatsConnection> {
    if (closed) throw new LongshoreError("shutting-down", "transport", `${name} was closed`);
    if (open && !open.isClosed()) return open;
    return await (making ??= make());
  }

  return {
    async use(work) {
      const connection = await current();
      try {
        return await work(connection);
      } catch (thrown) {
        throw natsFailure(name, thrown);
      }
    },
    async close() {
      closed = true;
      await making?.catch(() => undefined);
      await open?.close();
    },
  };
}
