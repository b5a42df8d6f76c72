import { microgramsOf } from "../goal/index.ts";
import { serviceRatioAt } from "../table/index.ts";
import type { Choice } from "./choices.ts";
import type { Group } from "./options.ts";
import type { PlanInputs } from "./plan-inputs.ts";
import type { ModelView, View } from "./view.ts";

/**
 * The CO2 of candidates, in micrograms: the energy of each part times the intensity of the zone that it runs in. NaN if the intensity of a zone
 * or the energy of a run is not known. Forwarded requests count at the zones behind the first endpoint, at the most of them if there are
 * several.
 */

/** Added to the score of a candidate whose CO2 is not known if another's is: an objective with carbon chooses it last. */
export const unknownMicrograms = 1e12;

/** Grams of CO2 of a kilowatt hour where a route runs; NaN if it is not known. */
export function gramsAt({ carbon, endpoints }: View, { routes }: ModelView, route: number): number {
  if (!carbon) return NaN;
  const zones = routes.zones[route] ?? [];
  if (routes.forwards[route] !== 1 || zones.length < 2) {
    // The figure that the operator states for its zone counts, whatever zones it names itself.
    return carbon(endpoints.infos[routes.endpoint[route] ?? -1]?.zone ?? "");
  }
  return Math.max(...zones.slice(1).map(carbon));
}

/** CO2 of the run elsewhere. */
export function thereMicrograms(
  { view, model }: PlanInputs,
  { cells, cell }: Group,
  route: number,
  grams: number = gramsAt(view, model, route),
): number {
  if (grams === 0) return 0;
  const promised = cells.millijoules[route * cells.count + cell] ?? 0;
  const ratio = Math.max(1, serviceRatioAt(view.endpoints, model.routes.endpoint[route] ?? -1));
  return promised > 0 ? microgramsOf(promised * ratio, grams) : NaN;
}

/**
 * CO2 of the energy that this device draws. `runs`: it runs a part of the model. If the carbon intensity of its zone is not stated, energy for
 * sending and waiting counts as 0, since it differs little between candidates.
 */
export function hereMicrograms({ device, carbon }: View, millijoules: number, runs: boolean): number {
  if (!device.info || !carbon) return runs ? NaN : 0;
  const grams = carbon(device.info.zone);
  if (Number.isNaN(grams)) return runs ? NaN : 0;
  return microgramsOf(millijoules, grams);
}

/** Whether a remote candidate runs a part of the model here. */
export function runsHere({ choice, from, to }: Group): boolean {
  return from > choice.from || to < choice.to;
}

/** The figure of a candidate that counts: its CO2, or the charge for an unknown one. */
export function countedMicrograms({ unknownMicrograms: charge }: PlanInputs, micrograms: number): number {
  return Number.isNaN(micrograms) ? charge : micrograms;
}

/** The question with a charge for unknown CO2, if the objective counts CO2 and that of some candidate is known. */
export function chargingUnknown(inputs: PlanInputs, choices: readonly Choice[]): PlanInputs {
  const { view, model, goal } = inputs;
  if (goal.carbonWeight === 0) return inputs;
  const { info } = view.device;
  const known =
    (info !== undefined &&
      !Number.isNaN(view.carbon?.(info.zone) ?? NaN) &&
      choices.some(({ slowness }) => slowness > 0)) ||
    choices.some((choice) => offersKnown(view, model, choice));
  return known ? { ...inputs, unknownMicrograms } : inputs;
}

function offersKnown(view: View, model: ModelView, { position, bucketPosition }: Choice): boolean {
  const cells = model.routes.cells(position, bucketPosition);
  if (!cells) return false;
  for (let route = 0; route < model.routes.count; route++) {
    const grams = gramsAt(view, model, route);
    if (Number.isNaN(grams)) continue;
    const first = route * cells.count;
    if (grams === 0 || cells.millijoules.subarray(first, first + cells.count).some((one) => one > 0))
      return true;
  }
  return false;
}
