import { type Clock, LongshoreError } from "@longshore/core";
import {
  createScaler,
  type DemandSample,
  parseScaleObjective,
  type ScaleDecision,
  type ScaleDecisions,
  unknownDecision,
} from "@longshore/core/internal";
import type { ScaleNumbers } from "@longshore/grpc";
import type { Looked } from "./demand.ts";

/** Settings of the numbers. */
export interface NumbersOptions {
  readonly objective: string;
  /** Models that are known before their first request. */
  readonly models: readonly string[];
  readonly startMs: number;
  readonly idleMs: number;
  readonly most: number;
  readonly slots?: number;
}

/** The number of one model (`*` for all) and objective, once it is known. */
export interface NumberRow {
  readonly model: string;
  readonly objective: string;
  readonly decision: ScaleDecision & { readonly needed: number };
}

/** All numbers, for KEDA, the metrics API and Prometheus. */
export interface Numbers extends ScaleNumbers {
  /** Takes in what gateways told. `isWhole`: all of them did. */
  look(looked: Looked, isWhole: boolean): void;
  /** Throws `invalid-input` for an objective that cannot be, `unknown-model` for a model that was neither requested nor declared. */
  decision(model: string | undefined, objective: string | undefined): ScaleDecision;
  rows(): readonly NumberRow[];
  /** Of the objective of the command. */
  readonly startMs: number;
}

/** A look at a model that no page names. */
const quiet: DemandSample = {
  arrivals: 0,
  runMs: new Float64Array(0),
  aloneMs: new Float64Array(0),
  occupiedMs: 0,
};

/** Name of all models together. */
export const allModels = "*";
/** Objectives that triggers may state besides that of the command. */
const mostObjectives = 16;

/** Makes the numbers of a fleet. Throws `invalid-input` for an objective that cannot be. */
export function createNumbers(clock: Clock, options: NumbersOptions): Numbers {
  const { startMs, idleMs, most, slots, models } = options;
  const own = createScaler({
    clock,
    objective: parseScaleObjective(options.objective),
    startMs,
    idleMs,
    most,
    ...(slots === undefined ? {} : { slots }),
  });
  const scalers = new Map<string, ScaleDecisions>([[options.objective, own]]);
  const watchers = new Set<() => void>();
  const scalerOf = (text: string): ScaleDecisions => {
    const found = scalers.get(text);
    if (found) return found;
    const objective = parseScaleObjective(text);
    if (scalers.size > mostObjectives) {
      const what = `objective '${text.slice(0, 80)}' is one too many: triggers may state ${mostObjectives} different ones`;
      throw new LongshoreError("invalid-input", "resolve", what);
    }
    const made = own.withObjective(objective);
    scalers.set(text, made);
    return made;
  };

  const decisionOf = (scaler: ScaleDecisions, model: string): ScaleDecision => {
    if (model === allModels) return scaler.all();
    const decision = scaler.model(model);
    if (decision) return decision;
    if (models.includes(model)) return unknownDecision;
    const known = [...new Set([...own.models, ...models])].slice(0, 20).join(", ");
    throw new LongshoreError(
      "unknown-model",
      "resolve",
      `no request came for model '${model.slice(0, 80)}', and --model does not name it; known: ${known || "none yet"}`,
    );
  };
  const decision: Numbers["decision"] = (model = allModels, objective = options.objective) =>
    decisionOf(scalerOf(objective), model);

  return {
    look({ samples, ready }, isWhole) {
      // A model that is named here is quiet from the first look on, like one that a page names.
      const silent = models.filter((model) => !samples.has(model)).map((model) => [model, quiet] as const);
      own.observe(new Map([...silent, ...samples]), ready, isWhole);
      for (const changed of watchers) changed();
    },
    decision,
    of({ metadata }) {
      const { model, objective, scalerAddress: _address, ...rest } = metadata;
      const [odd] = Object.keys(rest).filter((key) => !kedaKeys.has(key));
      if (odd !== undefined) {
        const what = `the trigger's metadata has '${odd.slice(0, 80)}'; known are model and objective`;
        throw new LongshoreError("invalid-input", "resolve", what);
      }
      return decision(model, objective);
    },
    watch(changed) {
      watchers.add(changed);
      return { [Symbol.dispose]: () => void watchers.delete(changed) };
    },
    rows() {
      return [...scalers].flatMap(([objective, scaler]) =>
        [allModels, ...new Set([...models, ...own.models])].flatMap((model) => {
          const decision = decisionOf(scaler, model);
          const { needed } = decision;
          return needed === undefined ? [] : [{ model, objective, decision: { ...decision, needed } }];
        }),
      );
    },
    get startMs() {
      return own.startMs;
    },
  };
}

/** Metadata of the trigger that is for KEDA itself. */
const kedaKeys: ReadonlySet<string> = new Set([
  "caCert",
  "tlsCertFile",
  "tlsClientCert",
  "tlsClientKey",
  "enableTLS",
  "unsafeSsl",
]);
