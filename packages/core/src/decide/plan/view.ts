import type { EndpointId, LongshoreError, ZoneId } from "../../words/base/index.ts";
import type { EndpointInfo, MissingEndpoint } from "../../wire/endpoint/index.ts";
import type { DevicePrice, LossOptions, Radio } from "../estimate/index.ts";
import type { Policy } from "../policy/index.ts";
import type { EndpointTable, ModelTable, RouteTable } from "../table/index.ts";

/** The state of this device, as decisions read it. */
export interface DeviceView {
  /** The endpoint that runs things here; undefined where nothing can. */
  readonly info?: EndpointInfo | undefined;
  /** Why nothing is started here now, in words. */
  readonly unavailable?: string;
  /** Expected wait of a run that starts now, behind the runs under way, dropped ones included. */
  readonly queueMs: number;
  /** The price of delaying other requests by a run of this length here; default none. */
  readonly price?: ((runMs: number) => DevicePrice) | undefined;
  /** Why work here counts more than its time, as the end of a sentence about this device; undefined if it does not. */
  readonly strain?: string | undefined;
  /** How lateness is weighed; defaults of `LossOptions`. */
  readonly loss?: LossOptions | undefined;
  /** Memory that a model may take, in bytes; Infinity if it is not known. */
  readonly memoryBytes: number;
  /** Power of a run above idle, and of merely being on while an answer is awaited, in watts. */
  readonly activeWatts: number;
  readonly idleWatts: number;
  readonly radio: Radio;
  /** Energy charged to an exchange for waking the radio and for its tail, in millijoules; less if the radio is on anyway. */
  readonly radioWakeMillijoules: number;
  /** Assumed time between exchanges for which the radio stays on; 0 if each exchange pays for its own waking. */
  readonly radioGapMs: number;
  readonly battery?: { readonly ratio: number; readonly charging: boolean } | undefined;
}

/** The answers of other endpoints to the poll about a model. Only explanations read it. */
export interface ModelPoll {
  /** Why endpoints did not answer the last poll. */
  readonly failures: ReadonlyMap<EndpointId, LongshoreError>;
  /** Endpoints that answered; without `knowledge` they do not have the model. */
  readonly reports: ReadonlyMap<
    EndpointId,
    {
      readonly knowledge: object | undefined;
      readonly missing?: readonly MissingEndpoint[];
    }
  >;
}

/** Knowledge of one model: its frontier, its offers and its speed here. */
export interface ModelView {
  readonly table: ModelTable;
  readonly routes: RouteTable;
  /** Run time here divided by the time in the profile, for each bucket of each variant of the table; NaN if it cannot run here. */
  readonly localSlowness: readonly (readonly number[])[];
  /** Whether the model was not measured: times in the table are assumptions. Default false. */
  readonly assumed?: boolean;
  /** The same, and it has not run here yet. Default false. */
  readonly assumedHere?: boolean;
  /** Default: endpoints without offers are not explained. */
  readonly poll?: ModelPoll | undefined;
}

/** The immutable snapshot that a decision reads. */
export interface View {
  readonly number: number;
  readonly atMs: number;
  /** ID of this endpoint: offers whose path comes through here are loops. */
  readonly self: EndpointId;
  readonly device: DeviceView;
  readonly endpoints: EndpointTable;
  readonly models: ReadonlyMap<string, ModelView>;
  readonly policy: Policy;
  /** Grams of CO2 of a kilowatt hour in a zone now; NaN if nothing is stated. Undefined: of no zone. */
  readonly carbon?: ((zone: ZoneId) => number) | undefined;
}
