import type { Endpoint } from "../../wire/endpoint/index.ts";
import { endCut, startCut } from "../../words/model/index.ts";
import { type EndpointStates, ranOf } from "../endpoints/index.ts";
import type { KnownModel } from "../models/index.ts";
import { type ModelInUse, validKnowledge } from "./model-in-use.ts";

/** Whether nothing of the model would have to be fetched to run it here. */
function complete({ description, whole: all }: KnownModel, local: Endpoint | undefined): boolean {
  const whole = { ...ranOf(description), variant: "", from: startCut, to: endCut };
  return all && (local?.capabilities.lacks?.(whole) ?? 0) === 0;
}

/** Whether an endpoint is known that can run the model without fetching any of it here first. */
export function runsNow(entry: ModelInUse, all: EndpointStates["all"], local: Endpoint | undefined): boolean {
  const known = validKnowledge(entry, all);
  return known !== undefined && (complete(known, local) || known.blocks.length > 0);
}
