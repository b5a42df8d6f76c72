import type { RuntimeName } from "../engine/open-engine.ts";
import type { ServersAtOptions } from "../options/at-options.ts";
import type { OwnPriceOptions } from "../options/price-options.ts";
import type { OnlineCommandOptions } from "../options/online-options.ts";
import type { PullCommandOptions } from "./package.ts";
import type { RepositoryOptions } from "../options/repository-options.ts";
import type { TritonOptions } from "../options/triton-options.ts";

/** Options of `longshore serve`. */
export interface ServeCommandOptions
  extends
    OnlineCommandOptions,
    ServersAtOptions,
    PullCommandOptions,
    TritonOptions,
    RepositoryOptions,
    OwnPriceOptions {
  readonly repository?: string;
  readonly workers?: number;
  readonly runtime: RuntimeName;
  readonly providers?: readonly string[];
  readonly allowClasses?: readonly string[];
  readonly queue: number;
  readonly workerNiceness: number;
  readonly allowManagement: boolean;
}
