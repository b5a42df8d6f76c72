import type { Command } from "commander";
import { type Clock, LongshoreError } from "@longshore/core";
import { watchFiles } from "@longshore/nodejs";
import { settle } from "./settle.ts";
import type { Environment, Settled } from "../settings/settled.ts";
import type { LiveSettings } from "../settings/live-settings.ts";

/** Settings that take effect while a server runs. A change of any other needs a restart. */
const liveSettings: ReadonlySet<string> = new Set([
  "telemetry.logLevel",
  "telemetry.traceRate",
  "policy.rules",
  "policy.accepts",
  "quotas.concurrency",
  "quotas.tenants",
  "budgets.tenants",
  "carbon.zones",
]);

/** Live settings with what keeps them so. */
export interface WatchedSettings extends LiveSettings, Disposable {}

/** Inputs of `watchSettings`. */
export interface LiveParts {
  readonly clock: Clock;
  readonly environment: Environment;
  /** Gets a line about each change: that it holds, or why it does not. */
  readonly report: (text: string) => void;
  /** Calls its argument on SIGHUP. */
  readonly onReload?: (listener: () => void) => Disposable;
  /** Throws where the settings together are wrong. */
  readonly check: (settled: Settled) => Promise<void>;
  /** How often the file is looked at, in milliseconds. Default 2,000. */
  readonly everyMs?: number;
}

/** Paths whose effective values differ. */
function changedPaths(before: Settled, after: Settled): readonly string[] {
  const values = ({ settings }: Settled): ReadonlyMap<string, string> =>
    new Map(
      settings
        .filter(({ isUsed, origin }) => isUsed && origin !== "unset")
        .map(({ path, value }) => [path, JSON.stringify(value)]),
    );
  const old = values(before);
  const next = values(after);
  return [...new Set([...old.keys(), ...next.keys()])].filter((path) => old.get(path) !== next.get(path));
}

class FollowedSettings implements WatchedSettings {
  readonly #command: Command;
  readonly #parts: LiveParts;
  readonly #listeners: ((settled: Settled) => void)[] = [];
  #settled: Settled;
  #ended: Disposable[] = [];
  #reading: Promise<void> = Promise.resolve();

  constructor(command: Command, settled: Settled, parts: LiveParts) {
    this.#command = command;
    this.#settled = settled;
    this.#parts = parts;
  }

  now(): Settled {
    return this.#settled;
  }

  follow(listener: (settled: Settled) => void): void {
    this.#listeners.push(listener);
  }

  async watch(): Promise<void> {
    const { file } = this.#settled;
    if (!file) return;
    const { clock, onReload, everyMs } = this.#parts;
    this.#ended.push(
      await watchFiles(
        () => [file.file],
        clock,
        () => this.read(),
        everyMs,
      ),
    );
    const reload = onReload?.(() => void this.read());
    if (reload) this.#ended.push(reload);
  }

  /** One reading at a time: of two changes the later one holds. */
  read(): Promise<void> {
    this.#reading = this.#reading.then(() => this.#again());
    return this.#reading;
  }

  async #again(): Promise<void> {
    const { environment, report, check } = this.#parts;
    const name = this.#settled.file?.file ?? "";
    try {
      const next = await settle(this.#command, environment);
      await check(next);
      const changed = changedPaths(this.#settled, next);
      const fixed = changed.filter((path) => !liveSettings.has(path));
      if (fixed.length > 0) {
        report(
          `${name} changed; ${fixed.join(", ")} ${fixed.length === 1 ? "needs" : "need"} a restart, so nothing of the change holds yet`,
        );
        return;
      }
      this.#settled = next;
      for (const listener of this.#listeners) listener(next);
      report(
        `${name} was read again: ${changed.length === 0 ? "nothing changed" : `changed ${changed.join(", ")}`}`,
      );
    } catch (thrown) {
      const { message } = LongshoreError.from(thrown, "resolve", "reading the configuration again");
      report(`${name} was read again and is wrong; the settings before hold on (${message})`);
    }
  }

  [Symbol.dispose](): void {
    for (const one of this.#ended.splice(0)) one[Symbol.dispose]();
  }
}

/**
 * Settings that follow their file: on a change, or on SIGHUP, the file is read again. Either the whole of it holds or nothing: a file that is
 * wrong, or that changes what only a restart can change, is reported and left.
 */
export async function watchSettings(
  command: Command,
  settled: Settled,
  parts: LiveParts,
): Promise<WatchedSettings> {
  const followed = new FollowedSettings(command, settled, parts);
  await followed.watch();
  return followed;
}
