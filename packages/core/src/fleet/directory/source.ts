import type { Json, LongshoreError } from "../../words/base/index.ts";

/** Gets what a source reads. Records are not trusted before the directory has checked them. */
export interface RecordSink {
  /** All records that there are now: others are gone. */
  all(records: readonly unknown[]): void;
  /** One record came or changed. */
  put(record: unknown): void;
  /** The record of that id is gone. */
  drop(id: string): void;
  /** What was said before still holds. */
  confirmed(): void;
  /** The source cannot be read now; what was said before is all there is. */
  failed(error: LongshoreError): void;
}

/** Where records come from: a file, a server, DNS, a key-value store. It tries again by itself. */
export interface RecordSource {
  /** For people and events: `file edge.yaml`. */
  readonly name: string;
  /** Reads, and goes on to watch. Called once; dispose to stop. */
  follow(sink: RecordSink): AsyncDisposable;
}

/** Where the last known state outlives a restart. */
export interface DirectoryMemory {
  /** Undefined when nothing was kept. */
  load(): Promise<unknown>;
  /** Replaces the whole at once: a crash leaves the old or the new state. */
  save(state: Json): Promise<void>;
}
