import type {
  CheckOptions,
  DeviceParts,
  Directory,
  Observer,
  OffloadDefaults,
  Policy,
} from "@longshore/core";
import type { CarbonZones, RetryOptions } from "@longshore/core/internal";
import type { PullOptions } from "../package/pull.ts";
import type { ServerOptions } from "../connect/server-options.ts";
import type { Dialling, DirectoryOptions } from "../connect/directory.ts";
import type { RuntimeName } from "../engine/open-engine.ts";

/** Models that a device gets from elsewhere, as far as it needs them. */
export interface DevicePackages extends Omit<PullOptions, "asNeeded"> {
  /** Gets their outcomes in words; default: none. */
  readonly report?: (text: string) => void;
  /**
   * How long the start of an app that has servers waits for them, in milliseconds; default 5,000. Packages that are not here by
   * then are fetched while requests run elsewhere. Without servers no request runs before they are here.
   */
  readonly waitMs?: number;
}

/** The options of an app that opens an offloader. All are optional, but one of `repository` and `servers` is needed. */
export interface OpenOptions {
  /**
   * `longshore.yaml`, which says what the other options do not: models, endpoints with prices and credentials, directory, packages, policy.
   * Options here override `LONGSHORE_*` variables, which override the file. Default: no file, and no variables.
   */
  readonly configFile?: string;
  /** Models that this device can run: a repository, a model folder, an .onnx file, or a sample's name. */
  readonly repository?: string;
  /**
   * Models that are not in the repository and of which this device fetches the parts that it runs: the head that its plans
   * need, or the whole if only that will do. `wanted` lists them; others of the source stay unknown here.
   */
  readonly packages?: DevicePackages;
  /** Servers to consider. */
  readonly servers?: readonly (string | ServerOptions)[];
  /**
   * Where more servers are found, which may come and go: a file, the address of a server that keeps a directory, the same
   * with options, or a directory that is open already and stays the caller's.
   */
  readonly directory?: string | DirectoryOptions | Directory;
  /** The credentials for servers of the directory. Default: none. Unsigned addresses could lead anywhere. */
  readonly dialling?: Dialling;
  /** Runtime of this device. Default `onnxruntime`. */
  readonly runtime?: RuntimeName;
  /**
   * Execution providers of this device, such as `["cuda", "cpu"]`. Accelerators beside the processor are an endpoint of their
   * own (`device-cuda`), so that each request goes where it ends sooner; those that do not work here are left out, with an
   * event for `observer`. Default `["cpu"]`.
   */
  readonly providers?: readonly string[];
  /** Rules and limits of calls that name none. */
  readonly defaults?: OffloadDefaults;
  /** Where each data class may go. Default `standardPolicy()`. */
  readonly policy?: Policy;
  /**
   * Grams of CO2 of a kilowatt hour in each zone, and in `device`, for the objective `carbon`: a number, or numbers by hours of the day (UTC) such
   * as `{ "0-7": 40, "7-24": 90 }`. The figure of a zone holds for the zones inside it. Default: nothing is known.
   */
  readonly carbon?: CarbonZones;
  /**
   * Power, memory and condition of this device. Default: battery, temperatures, throttling, short memory and energy counters as Linux
   * reports them, and the radio of the interface that leads to `servers`.
   */
  readonly device?: DeviceParts;
  readonly observer?: Observer;
  /**
   * How answers of servers are checked. Default: golden inputs that lie beside the models here are sent to servers that offer
   * them, and no request is run twice, since the second run may be this device's.
   */
  readonly checks?: CheckOptions;
  /** How a request is sent again to servers that failed it. */
  readonly retry?: RetryOptions;
  /**
   * File that keeps what is learned of links, servers and this device over a restart; only its owner can read it. `false`: nothing is kept. Default:
   * `beliefs.json` in the folder `longshore` of `$XDG_CACHE_HOME` or `~/.cache`, or what `LONGSHORE_BELIEFS` names (`off` for nothing).
   */
  readonly beliefs?: string | false;
}
