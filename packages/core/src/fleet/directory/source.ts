import type { Json, LongshoreError } from "../../words/base/index.ts";

/** Receives the records of a source. They are untrusted until the directory has checked them. */
export interface RecordSink {
  /** Replaces all records: missing ones are gone. */
  all(records: readonly unknown[]): void;
  /** Adds or changes one record. */
  put(record: unknown): void;
  /** Removes the record of that ID. */
  drop(id: string): void;
  /** The previous records still hold. */
  confirmed(): void;
  /** Whether members may still be missing because the source has just started. A source that never says so has all of its records. */
  settling(isSettling: boolean): void;
  /** The source cannot be read now. The previous records stay the latest. */
  failed(error: LongshoreError): void;
}

/** A source of records: a file, a server, DNS, a key-value store. It retries by itself. */
export interface RecordSource {
  /** Name for display and events: `file edge.yaml`. */
  readonly name: string;
  /**
   * Records come into being here, so what a directory over it has stored lists every endpoint that was there before a restart. Default: they
   * are read from elsewhere, and may have changed since.
   */
  readonly isOrigin?: true;
  /** Reads, and continues to watch. Called once; dispose to stop. */
  follow(sink: RecordSink): AsyncDisposable;
}

/** Storage for the last known state over a restart. */
export interface DirectoryMemory {
  /** Undefined if nothing was stored. */
  load(): Promise<unknown>;
  /** Replaces the whole state atomically: a crash leaves the old or the new state. */
  save(state: Json): Promise<void>;
}
