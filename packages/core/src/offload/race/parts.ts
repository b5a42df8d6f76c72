import type {
  Clock,
  DataClass,
  EndpointId,
  Observer,
  Random,
  TrustLevel,
  ZoneId,
} from "../../words/base/index.ts";
import type { CheckOptions } from "../check/index.ts";
import type { Directory } from "../../fleet/directory/index.ts";
import type { Endpoint, EndpointInfo } from "../../wire/endpoint/index.ts";
import type { Link } from "../../wire/transport/index.ts";
import type { BeliefMemory, TryOptions } from "../../decide/estimate/index.ts";
import type { CarbonIntensity, Objective } from "../../decide/goal/index.ts";
import type { Policy } from "../../decide/policy/index.ts";
import type { DeviceParts } from "../endpoints/index.ts";
import type { UpkeepOptions } from "../knowledge/index.ts";

/** Rules and limits of calls that name none. */
export interface OffloadDefaults {
  /** Default `unknown`, which no policy lets off the device; the model's own class comes first. */
  readonly dataClass?: DataClass;
  /** Default `none`: the policy decides by data class. */
  readonly leastTrust?: TrustLevel;
  /** Default: any zone that the policy allows. */
  readonly zones?: readonly ZoneId[];
  /** Default `latency`. */
  readonly objective?: Objective;
  /** Default 0.995. */
  readonly minAgreementRatio?: number;
  /** See `Limits.confirm`; a caller cannot take it back. Default false. */
  readonly confirm?: boolean;
  /** From the start of a call, in milliseconds; default: none. */
  readonly deadlineMs?: number;
  /** Below this charge of a battery that is not charging, calls that name no objective save energy; default 0.15. */
  readonly saveEnergyBelowRatio?: number;
  /** Default `local`. */
  readonly tenant?: string;
}

/** The parts of an offloader. */
export interface OffloadParts {
  /** ID of this endpoint. Default: the ID of the local endpoint, otherwise `offloader`. */
  readonly id?: EndpointId;
  /** Runs models on this device. */
  readonly local?: Endpoint;
  /** Checks whether models from elsewhere were replaced there; not if it did so a moment ago. Never rejects. */
  readonly lookAgain?: () => Promise<void>;
  /** Other endpoints. Closed with the offloader, like the local one. */
  readonly endpoints?: readonly Endpoint[];
  /** Source of more endpoints, which may appear and disappear. `dial` makes an endpoint of each entry. */
  readonly directory?: Directory;
  readonly dial?: (info: EndpointInfo) => Endpoint;
  readonly policy: Policy;
  /** CO2 of electricity by zone. Default: nothing is known of any zone. */
  readonly carbon?: CarbonIntensity;
  readonly clock: Clock;
  readonly random: Random;
  readonly observer: Observer;
  /**
   * The belief about the network to an endpoint. The endpoint's transport updates it; here it is only read. Undefined for endpoints in this
   * process.
   */
  readonly links: (endpoint: EndpointId) => Link | undefined;
  readonly device?: DeviceParts;
  readonly defaults?: OffloadDefaults;
  /** How lateness is weighed and second runs are rationed, for each endpoint. */
  readonly hedges?: TryOptions;
  readonly upkeep?: UpkeepOptions;
  /** Beliefs about servers and this device that one process hands to the next. Default: nothing is kept. */
  readonly beliefs?: BeliefMemory;
  /** How answers of other endpoints are checked. Default: not at all. */
  readonly checks?: CheckOptions;
  /** Plans that one request may make before it waits for a retry, the first included; default 6. */
  readonly maxPlans?: number;
  /** How a request is sent again to endpoints that failed it. */
  readonly retry?: RetryOptions;
}

/** How a request is sent again to endpoints that failed it before. */
export interface RetryOptions {
  /** Rounds of retries of one request; 0 switches them off. Default 10. */
  readonly mostRounds?: number;
  /** Pause before the first round, in milliseconds; twice as long before each further one. Default 50. */
  readonly firstPauseMs?: number;
  /** How long a request without a deadline is retried, in milliseconds. Default 1,000. */
  readonly withoutDeadlineMs?: number;
  /** Requests that wait for a retry at the same time; beyond it a request fails at once. Default 256. */
  readonly mostWaiting?: number;
}
