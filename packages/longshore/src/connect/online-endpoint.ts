import type { Directory, Endpoint, EndpointId, LoadReport } from "@longshore/core";
import type { DirectoryApi, JoinReply, Registration } from "@longshore/core/internal";
import type { PackageShelf, ServedRepository } from "@longshore/server";

/** The endpoint to put on the network. */
export interface OnlineEndpoint {
  /** Closed with the server. */
  readonly endpoint: Endpoint;
  readonly repository?: ServedRepository;
  /** Packages of models that others may fetch. */
  readonly packages?: PackageShelf;
  /** Models that are not to be offered yet. */
  readonly pending?: ReadonlySet<string>;
  /** Told of the registration of a directory, and of each other answer of its directory server. */
  joined?(registration: Registration): void;
  answered?(reply: JoinReply): void;
  /** Endpoints that join this server, for others to read. */
  readonly joins?: DirectoryApi;
  /** Whether it can answer anything now. Default: it can. */
  readonly available?: () => Promise<boolean>;
  /** The endpoints that the metrics report. */
  readonly directory?: Directory;
  /** Endpoints whose answers are checked now. Default: none. */
  readonly checked?: () => Iterable<EndpointId>;
  load(): LoadReport;
  /**
   * Once the ports listen: loads the models wanted at the start. Calls `ready` when all of them are there, `join` before if
   * some may come by joining, and `loaded` before if the missing ones do not come by themselves. Default: none are wanted.
   */
  begin?(ready: () => void, join: () => void, loaded: () => void): Promise<void>;
  /** No new work comes any more; work under way goes on. */
  stop?(): void;
  /** After the endpoint was closed. */
  close(): Promise<void>;
}
