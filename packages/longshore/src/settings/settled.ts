import type { ConfigurationFile } from "./configuration-file.ts";

/** Where the value of a setting comes from. */
export type Origin = "flag" | "environment" | "file" | "default" | "unset";

/** A setting with its effective value. */
export interface Setting {
  /** In the file: `listeners.port`. */
  readonly path: string;
  readonly value: unknown;
  readonly origin: Origin;
  /** The flag, the variable, or the file with its line. */
  readonly where: string;
  /** False: the command has no such option, and the value of the file means nothing to it. */
  readonly isUsed: boolean;
}

/** The settings that result from flags, environment, file and defaults. */
export interface Settled {
  /** Options of the command, by attribute. */
  readonly options: Readonly<Record<string, unknown>>;
  readonly settings: readonly Setting[];
  /** Undefined without `--config`. */
  readonly file: ConfigurationFile | undefined;
}

/** The environment as programs get it. */
export type Environment = Readonly<Record<string, string | undefined>>;
