import {
  type Clock,
  LongshoreError,
  type Random,
  type RecordSink,
  type RecordSource,
  sleep,
} from "@longshore/core";
import type { StreamInfo } from "@nats-io/jetstream";
import { type KV, type KvEntry, Kvm } from "@nats-io/kv";
import { connect, type NatsConnection, type NodeConnectionOptions } from "@nats-io/transport-node";
import { idOf, placesBucket } from "./bucket.ts";

/** Where a directory lies in NATS. */
export interface NatsSourceOptions {
  /** Servers, credentials and TLS; reconnecting is done here. */
  readonly connection: NodeConnectionOptions;
  /** Default `longshore-places`. */
  readonly bucket?: string;
  readonly clock: Clock;
  readonly random: Random;
  /** How often it is asked whether the server is still there, in milliseconds. Default 2,000. */
  readonly everyMs?: number;
  /** A copy of a bucket elsewhere that heard nothing from there for this long is out of touch, in milliseconds. Default 30,000. */
  readonly mirrorSilentMs?: number;
}

/** The first and the longest pause between connections, in milliseconds. */
const firstPauseMs = 200;
const longestPauseMs = 30_000;

function recordIn(entry: KvEntry): unknown {
  try {
    return JSON.parse(entry.string()) as unknown;
  } catch {
    // Read as no record, so that the directory says what it does not believe.
    return { signed: { body: { id: idOf(entry.key) } } };
  }
}

/** For how long a copy of another bucket heard nothing from it; 0 for a bucket of its own. */
function silenceOf({ mirror }: StreamInfo): number {
  if (!mirror) return 0;
  // Nanoseconds; negative when it never heard anything.
  return mirror.active < 0 ? Infinity : mirror.active / 1e6;
}

function cutOff(name: string, silentMs: number): LongshoreError {
  const since = Number.isFinite(silentMs) ? `for ${Math.round(silentMs / 1000)} s` : "at all";
  return new LongshoreError(
    "unreachable",
    "transport",
    `${name} is a copy, and its uplink was not heard ${since}`,
  );
}

/** Tells all records that there are, then each change, until the connection is gone. */
async function follow(places: KV, sink: RecordSink, alive: () => boolean): Promise<void> {
  const { values } = await places.status();
  const first = new Map<string, unknown>();
  let complete = values === 0;
  if (complete) sink.all([]);
  for await (const entry of await places.watch()) {
    if (!alive()) return;
    const there = entry.operation === "PUT";
    if (complete) {
      if (there) sink.put(recordIn(entry));
      else sink.drop(idOf(entry.key));
      continue;
    }
    if (there) first.set(entry.key, recordIn(entry));
    else first.delete(entry.key);
    // What comes before the last one that was waiting is how things are, not what happens.
    complete = entry.delta === 0;
    if (complete) sink.all([...first.values()]);
  }
}

/**
 * A directory in a bucket of JetStream's key-value store, each record under the id of its place. A connection that breaks is
 * made anew, and everything read again: what happened meanwhile is caught up. The bucket must be there (`makePlaces`).
 */
export function natsSource(options: NatsSourceOptions): RecordSource {
  const {
    connection,
    bucket = placesBucket,
    clock,
    random,
    everyMs = 2000,
    mirrorSilentMs = 30_000,
  } = options;
  const name = `nats ${bucket}`;
  return {
    name,
    follow(sink) {
      const control = new AbortController();
      const { signal } = control;
      let open: NatsConnection | undefined;

      async function session(): Promise<void> {
        const made = await connect({ timeout: 5000, ...connection, reconnect: false });
        open = made;
        try {
          if (signal.aborted) return;
          const places = await new Kvm(made).open(bucket);
          const following = follow(places, sink, () => !signal.aborted);
          const beating = (async () => {
            for (;;) {
              await sleep(clock, everyMs, signal);
              const { streamInfo } = await places.status();
              const silentMs = silenceOf(streamInfo);
              if (silentMs <= mirrorSilentMs) sink.confirmed();
              else sink.failed(cutOff(name, silentMs));
            }
          })();
          const closed = made.closed().then((error) => {
            throw error ?? new Error("the connection was closed");
          });
          // Whichever ends first ends the session; what the others say afterwards is about the same end.
          for (const one of [following, beating, closed]) one.catch(() => undefined);
          await Promise.race([following, beating, closed]);
        } finally {
          open = undefined;
          await made.close();
        }
      }

      async function run(): Promise<void> {
        let pauseMs = firstPauseMs;
        while (!signal.aborted) {
          const startedMs = clock.nowMs();
          try {
            await session();
          } catch (thrown) {
            if (signal.aborted) return;
            const why = thrown instanceof Error ? thrown.message : String(thrown);
            const message = `${name} cannot be read: ${why.slice(0, 200)}`;
            sink.failed(new LongshoreError("unreachable", "transport", message, { cause: thrown }));
          }
          pauseMs =
            clock.nowMs() - startedMs > longestPauseMs ? firstPauseMs : Math.min(longestPauseMs, 2 * pauseMs);
          await sleep(clock, pauseMs * (0.5 + 0.5 * random.next()), signal).catch(() => undefined);
        }
      }

      const running = run();
      return {
        async [Symbol.asyncDispose]() {
          control.abort(new LongshoreError("shutting-down", "transport", "the directory was closed"));
          await open?.close();
          await running;
        },
      };
    },
  };
}
