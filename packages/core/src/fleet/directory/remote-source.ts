import { LongshoreError, type Random } from "../../words/base/index.ts";
import { type AskParts, askJson } from "./exchange.ts";
import { pageFrom } from "./join-json.ts";
import type { RecordSource } from "./source.ts";

/** Parameters for reading another server's directory. */
export interface RemoteSourceParts extends AskParts {
  readonly random: Random;
  /** Interval of requests in milliseconds; shorter until the directory has settled and lists an endpoint. Default 2,000. */
  readonly everyMs?: number;
}

/** First interval until the directory lists an endpoint, in milliseconds; doubled with each request. */
const emptyPauseMs = 200;

/** Longest interval while the directory may still miss servers that requests wait for, in milliseconds. */
const settlingPauseMs = 400;

/** Longest interval after failures, in milliseconds. */
const longestPauseMs = 30_000;

/** The directory of a server (`GET v2/directory`), polled for changes. */
export function remoteSource(parts: RemoteSourceParts): RecordSource {
  const { clock, random, name, everyMs = 2000 } = parts;
  return {
    name,
    follow(sink) {
      const control = new AbortController();
      let timer: Disposable | undefined;
      let at = "";
      let pauseMs = everyMs;
      let emptyMs = Math.min(emptyPauseMs, everyMs);
      const ask = async (): Promise<void> => {
        try {
          const query = at === "" ? "" : `?since=${encodeURIComponent(at)}`;
          const page = pageFrom(
            await askJson(parts, `/v2/directory${query}`, undefined, control.signal),
            "the reply",
          );
          sink.settling(page.settling === true);
          if (page.full) sink.all(page.records);
          else {
            for (const record of page.records) sink.put(record);
            for (const id of page.gone) sink.drop(id);
            sink.confirmed();
          }
          at = page.at;
          // A directory server that has just started soon learns its servers, and requests wait for them.
          const isSettling = page.settling === true;
          if (page.records.length > 0 && !isSettling) emptyMs = everyMs;
          pauseMs = emptyMs;
          emptyMs = Math.min(everyMs, isSettling ? settlingPauseMs : Infinity, 2 * emptyMs);
        } catch (thrown) {
          if (control.signal.aborted) return;
          sink.failed(LongshoreError.from(thrown, "transport", `reading the directory of ${name}`));
          pauseMs = Math.min(longestPauseMs, Math.max(everyMs, 2 * pauseMs));
        }
        if (!control.signal.aborted) timer = clock.timer(pauseMs * (0.8 + 0.2 * random.next()), turn);
      };
      let asking: Promise<void> = Promise.resolve();
      const turn = (): void => {
        asking = ask();
      };
      turn();
      return {
        async [Symbol.asyncDispose]() {
          timer?.[Symbol.dispose]();
          control.abort(new LongshoreError("shutting-down", "transport", "the directory was closed"));
          await asking;
        },
      };
    },
  };
}
