import type { EndpointId, LongshoreError } from "../../words/base/index.ts";
import type { EndpointInfo } from "../../wire/endpoint/index.ts";
import type { DevicePrice, LossOptions, Radio } from "../estimate/index.ts";
import type { Policy } from "../policy/index.ts";
import type { EndpointTable, ModelTable, RouteTable } from "../table/index.ts";

/** What is believed of this endpoint. */
export interface DeviceView {
  /** The endpoint that runs things here; undefined where nothing can. */
  readonly info?: EndpointInfo | undefined;
  /** Why nothing is started here now, in words. */
  readonly unavailable?: string;
  /** Expected wait of a run that is started now: what is already under way, dropped runs included. */
  readonly queueMs: number;
  /** What runs of so many milliseconds here keep waiting; default nothing. */
  readonly price?: ((runMs: number) => DevicePrice) | undefined;
  /** Why work here counts more than its time, as the end of a sentence about this device; undefined where it does not. */
  readonly strain?: string | undefined;
  /** How lateness is weighed; defaults of `LossOptions`. */
  readonly loss?: LossOptions | undefined;
  /** Memory that a model may take, in bytes; Infinity when nobody says. */
  readonly memoryBytes: number;
  /** Power of a run above idle, and of merely being on while an answer is awaited, in watts. */
  readonly activeWatts: number;
  readonly idleWatts: number;
  readonly radio: Radio;
  /** What an exchange is weighed with for promotion and tail, in millijoules; less when the radio is up anyway. */
  readonly radioWakeMillijoules: number;
  /** Time from one exchange to the next for which the radio is taken to stay up; 0 where each pays for its own waking. */
  readonly radioGapMs: number;
  readonly battery?: { readonly ratio: number; readonly charging: boolean } | undefined;
}

/** What the other endpoints said when they were asked about a model. Only explanations read it. */
export interface Asked {
  /** Why endpoints did not say what they have when they were last asked. */
  readonly unsaid: ReadonlyMap<EndpointId, LongshoreError>;
  /** Endpoints that said what they have; without `knowledge` they do not have the model. */
  readonly heard: ReadonlyMap<EndpointId, { readonly knowledge: object | undefined }>;
}

/** What is known of one model: its frontier, who offers it, how fast it is here. */
export interface ModelView {
  readonly table: ModelTable;
  readonly routes: RouteTable;
  /** Time here over time in the profile, for each bucket of each variant of the table; NaN where it cannot run here. */
  readonly localSlowness: readonly (readonly number[])[];
  /** Nobody has measured the model: times in the table are assumptions. Default false. */
  readonly assumed?: boolean;
  /** The same, and it has not run here yet. Default false. */
  readonly assumedHere?: boolean;
  /** Default: nothing is said of endpoints that offer nothing. */
  readonly asked?: Asked | undefined;
}

/** The immutable snapshot that a decision reads. */
export interface View {
  readonly number: number;
  readonly atMs: number;
  /** Id of this endpoint: offers whose path comes through here are loops. */
  readonly self: EndpointId;
  readonly device: DeviceView;
  readonly endpoints: EndpointTable;
  readonly models: ReadonlyMap<string, ModelView>;
  readonly policy: Policy;
}
