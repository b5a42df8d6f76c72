import type { ServerOptions } from "../connect/server-options.ts";
import type { ServersAtOptions } from "../options/at-options.ts";
import type { OwnPriceOptions } from "../options/price-options.ts";
import type { OnlineCommandOptions } from "../options/online-options.ts";

/** Options of `longshore gateway`. */
export interface GatewayCommandOptions extends OnlineCommandOptions, ServersAtOptions, OwnPriceOptions {
  readonly allowManagement: boolean;
  /** False: no server may join. */
  readonly joins: boolean;
  readonly joinsTrust: NonNullable<ServerOptions["trust"]>;
  readonly joinsKeep?: string;
  /** Bytes of a body under way that are kept for a second try. */
  readonly maxKept: number;
  /** Longest wait of requests with a deadline for a first server of their model. */
  readonly holdSeconds: number;
}
