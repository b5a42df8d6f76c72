import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  createDirectory,
  type DirectoryRecord,
  LongshoreError,
  memorySource,
  type RecordSource,
} from "@longshore/core";
import { directoryContract, manualClock, type TestOperators } from "@longshore/testkit";
import { systemClock } from "../device/index.ts";
import { replaceFile } from "../file/index.ts";
import { fileSource } from "./file-source.ts";
import { newOperatorKey, operatorRing, operatorSigner } from "./operator-key.ts";

const key = newOperatorKey();
const operators: TestOperators = {
  operator: operatorSigner(key.privatePem),
  stranger: operatorSigner(newOperatorKey().privatePem),
  ring: operatorRing(key.publicLine),
};
const codecs = ["raw"];

const silent: RecordSource["follow"] = (sink) => {
  sink.failed(new LongshoreError("unreachable", "transport", "the source is away"));
  return { [Symbol.asyncDispose]: () => Promise.resolve() };
};

directoryContract("memory", operators, async (rules) => {
  const clock = manualClock(5000);
  const source = memorySource("memory");
  let away = rules.away === true;
  return {
    directory: createDirectory({
      ...rules,
      source: away ? { name: "memory", follow: silent } : source,
      clock,
      codecs,
    }),
    put: async (record) => source.put(record),
    drop: async (id) => source.drop(id),
    async fail() {
      away = true;
      source.fail(new LongshoreError("unreachable", "transport", "the source is away"));
    },
    async mend() {
      away = false;
      source.confirm();
    },
    pass: () => {
      if (!away) source.confirm();
      return clock.advance(100);
    },
  };
});

directoryContract(
  "file",
  operators,
  async (rules) => {
    const folder = mkdtempSync(join(tmpdir(), "longshore-directory-"));
    const path = join(folder, "endpoints.json");
    const held = new Map<string, DirectoryRecord>();
    let away = rules.away === true;
    const write = (_changed: void): Promise<void> =>
      replaceFile(
        path,
        away
          ? "schemaVersion: ["
          : JSON.stringify({ schemaVersion: 1, entries: [...held.values()].map(({ signed }) => signed) }),
      );
    writeFileSync(path, away ? "away: true" : '{"schemaVersion": 1, "entries": []}');
    return {
      directory: createDirectory({
        ...rules,
        source: fileSource(path, { clock: systemClock(), everyMs: 2 }),
        clock: systemClock(),
        codecs,
      }),
      put: (record) => write(void held.set(record.signed.body.id, record)),
      drop: (id) => write(void held.delete(id)),
      fail: () => write(void (away = true)),
      mend: () => write(void (away = false)),
      close: async () => rmSync(folder, { recursive: true }),
    };
  },
  { statements: false },
);
