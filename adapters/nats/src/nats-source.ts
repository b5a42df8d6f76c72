import {
  type Clock,
  type DirectoryRecord,
  LongshoreError,
  type Random,
  type RecordSink,
  type RecordSource,
} from "@longshore/core";
import { sleep } from "@longshore/core/internal";
import type { StreamInfo } from "@nats-io/jetstream";
import { type KV, type KvEntry, Kvm } from "@nats-io/kv";
import { connect, type NatsConnection, type NodeConnectionOptions } from "@nats-io/transport-node";
import { idOf, endpointsBucket } from "./bucket.ts";

/** The options of a directory in NATS. */
export interface NatsSourceOptions {
  /** Servers, credentials and TLS; reconnecting is done here. */
  readonly connection: NodeConnectionOptions;
  /** Default `longshore-endpoints`. */
  readonly bucket?: string;
  readonly clock: Clock;
  readonly random: Random;
  /** How often the connection to the server is checked, in milliseconds. Default 2,000. */
  readonly everyMs?: number;
  /** A mirror that received nothing from its origin for this long is out of touch, in milliseconds. Default 30,000. */
  readonly mirrorSilentMs?: number;
  /** A bucket that was made so lately may not have all endpoints again yet, in milliseconds. Default 60,000, in which those that joined renew. */
  readonly settleMs?: number;
  /**
   * Whether the endpoint of this id answers at its address now. An endpoint whose lease has expired stays as long as it does:
   * its renewals were lost on the way to the bucket. Default: none does.
   */
  readonly answers?: (endpoint: { readonly id: string; readonly address: string }) => Promise<boolean>;
}

/** The first pause between connections, in milliseconds. */
const firstPauseMs = 200;
/** The longest pause between connections, in milliseconds. */
const longestPauseMs = 30_000;

/** The value under a key: a record and how long it is valid without renewal. An endpoint that has left has no record. */
interface BucketRecord {
  readonly record: unknown;
  readonly leaseMs?: number;
}

/** The address in a record, as the operator names it, or else the endpoint itself. */
function addressIn(record: unknown): string | undefined {
  const { signed, statement } = record as Partial<DirectoryRecord>;
  const address: unknown = signed?.body?.address ?? statement?.address;
  return typeof address === "string" ? address : undefined;
}

function recordIn(entry: KvEntry): BucketRecord | undefined {
  if (entry.operation !== "PUT") return undefined;
  try {
    const { leaseMs, left, ...record } = entry.json<{
      readonly leaseMs?: unknown;
      readonly left?: unknown;
    }>();
    if (left === true) return undefined;
    return typeof leaseMs === "number" && leaseMs > 0 ? { record, leaseMs } : { record };
  } catch {
    // Read as no record, so that the directory says what it does not believe.
    return { record: { signed: { body: { id: idOf(entry.key) } } } };
  }
}

/** How long ago a mirror last received something from its origin, in milliseconds; 0 for a bucket that is no mirror. */
function silenceOf({ mirror }: StreamInfo): number {
  if (!mirror) return 0;
  // Nanoseconds; negative if it never received anything.
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

/**
 * Leases of endpoints that joined by themselves. One that ends while the bucket is silent is not the endpoint's fault, and
 * begins again. So does one whose key has a newer revision than the last that was read: this process stood still, or the
 * revision is on its way. They run from when they were read here, since clocks differ: an endpoint that left before that stays for one
 * lease more.
 */
class Leases implements Disposable {
  readonly #clock: Clock;
  readonly #isRenewed: (key: string, revision: number) => Promise<boolean>;
  readonly #ended: (key: string) => void;
  readonly #running = new Map<string, Disposable>();
  inTouch = true;

  /** @param isRenewed Whether a key has a newer revision than this one. */
  constructor(
    clock: Clock,
    isRenewed: (key: string, revision: number) => Promise<boolean>,
    ended: (key: string) => void,
  ) {
    this.#clock = clock;
    this.#isRenewed = isRenewed;
    this.#ended = ended;
  }

  /** Begins the lease of this revision; an earlier one of the key ends. */
  begin(key: string, leaseMs: number | undefined, revision: number): void {
    this.#running.get(key)?.[Symbol.dispose]();
    this.#running.delete(key);
    if (leaseMs === undefined) return;
    const running = this.#clock.timer(leaseMs, () => void end());
    this.#running.set(key, running);
    const end = async (): Promise<void> => {
      // If the bucket cannot be read, it counts as silent.
      const silent = this.inTouch && !(await this.#isRenewed(key, revision).catch(() => true));
      if (this.#running.get(key) !== running) return;
      if (!silent) return this.begin(key, leaseMs, revision);
      this.#running.delete(key);
      this.#ended(key);
    };
  }

  [Symbol.dispose](): void {
    for (const one of this.#running.values()) one[Symbol.dispose]();
    this.#running.clear();
  }
}

/**
 * Reports all records, then each change, until the connection ends. In a bucket that is not `whole`, a missing record may still
 * come.
 */
async function follow(
  endpoints: KV,
  { values, whole }: { readonly values: number; readonly whole: boolean },
  sink: RecordSink,
  leases: Leases,
  alive: () => boolean,
): Promise<void> {
  /** Undefined where an endpoint has left. */
  const first = new Map<string, unknown>();
  let complete = values === 0;
  const report = (key: string, record: unknown): void => {
    if (record === undefined) sink.drop(idOf(key));
    else sink.put(record);
  };
  for await (const entry of await endpoints.watch()) {
    if (!alive()) return;
    const found = recordIn(entry);
    leases.begin(entry.key, found?.leaseMs, entry.revision);
    if (complete) {
      report(entry.key, found?.record);
      continue;
    }
    first.set(entry.key, found?.record);
    // The entries before the last waiting one are the present state, not changes.
    complete = entry.delta === 0;
    if (complete && whole) sink.all([...first.values()].filter((record) => record !== undefined));
    else if (complete) for (const [key, record] of first) report(key, record);
  }
}

/**
 * A directory in a bucket of JetStream's key-value store, each record under the id of its endpoint, as the operator published
 * it or its endpoint joined (`natsJoin`). A connection that breaks is made again, and all records are read again, so that
 * missed changes are caught up. The bucket must be there (`makeEndpoints`). One that was lost and made again, or a copy that
 * has not heard of the other, takes no endpoint away before it can have all of them.
 */
export function natsSource(options: NatsSourceOptions): RecordSource {
  const {
    connection,
    bucket = endpointsBucket,
    clock,
    random,
    everyMs = 2000,
    mirrorSilentMs = 30_000,
    settleMs = 60_000,
  } = options;
  const name = `nats ${bucket}`;
  /** Clocks that differ make a bucket settle for longer, or not at all. */
  const isWhole = (info: StreamInfo): boolean =>
    clock.wallMs() - Date.parse(info.created) >= settleMs && silenceOf(info) <= mirrorSilentMs;
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
          const endpoints = await new Kvm(made).open(bucket);
          const { values, streamInfo: begun } = await endpoints.status();
          const isRenewed = async (key: string, revision: number): Promise<boolean> => {
            const last = await endpoints.get(key);
            if (last && last.revision !== revision) return true;
            const address = last ? addressIn(recordIn(last)?.record ?? {}) : undefined;
            if (last)
              return address !== undefined && (await options.answers?.({ id: idOf(key), address })) === true;
            // It was cleaned out, unless the bucket is another one by now, all of which is read soon.
            return (await endpoints.status()).streamInfo.created !== begun.created;
          };
          using leases = new Leases(clock, isRenewed, (key) => sink.drop(idOf(key)));
          const tell = (info: StreamInfo): void => {
            const silentMs = silenceOf(info);
            leases.inTouch = silentMs <= mirrorSilentMs;
            if (leases.inTouch) sink.confirmed();
            else sink.failed(cutOff(name, silentMs));
          };
          const whole = isWhole(begun);
          if (values === 0 && whole) sink.all([]);
          else if (values === 0) tell(begun);
          const following = follow(endpoints, { values, whole }, sink, leases, () => !signal.aborted);
          const beating = (async () => {
            for (;;) {
              await sleep(clock, everyMs, signal);
              const { streamInfo } = await endpoints.status();
              tell(streamInfo);
              // All of it is read again, also if it was deleted and made again: the watch is on the one before, which reports
              // no more.
              if (streamInfo.created !== begun.created || (!whole && isWhole(streamInfo))) return;
            }
          })();
          const closed = made.closed().then((error) => {
            throw error ?? new Error("the connection was closed");
          });
          // The first of these to end ends the session; later errors of the others are about the same end.
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
