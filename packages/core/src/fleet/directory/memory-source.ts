import type { LongshoreError } from "../../words/base/index.ts";
import type { DirectoryRecord } from "./entry.ts";
import type { RecordSink, RecordSource } from "./source.ts";

/** Records held by this process, for programs that know their endpoints themselves, and for tests. */
export interface MemorySource extends RecordSource {
  put(record: DirectoryRecord): void;
  drop(id: string): void;
  /** Reports that the source cannot be read now. The next `put`, `drop` or `confirm` reports that it can. */
  fail(error: LongshoreError): void;
  confirm(): void;
}

/** Starts with `records`. */
export function memorySource(name: string, ...records: readonly DirectoryRecord[]): MemorySource {
  const held = new Map(records.map((record) => [record.signed.body.id, record]));
  let sink: RecordSink | undefined;
  return {
    name,
    put(record) {
      held.set(record.signed.body.id, record);
      sink?.put(record);
    },
    drop(id) {
      held.delete(id);
      sink?.drop(id);
    },
    fail: (error) => sink?.failed(error),
    confirm: () => sink?.confirmed(),
    follow(told) {
      sink = told;
      told.all([...held.values()]);
      return {
        [Symbol.asyncDispose]: () => {
          sink = undefined;
          return Promise.resolve();
        },
      };
    },
  };
}
