import type { EndpointId } from "../../words/base/index.ts";
import type { Account, InferenceResponse } from "../../wire/endpoint/index.ts";
import type { Leg, Plan } from "../../decide/plan/index.ts";
import type { ComparableAnswer } from "./confirmed.ts";

/** The endpoints behind the answer of a leg and of those before it. `local`: an answer computed here needs no other. */
export function comparableAnswer(
  { leg, plan, response }: { readonly leg: Leg; readonly plan: Plan; readonly response: InferenceResponse },
  local: EndpointId | undefined,
): Omit<ComparableAnswer<never>, "value"> {
  const { outputs, state, account } = response;
  const chain = upTo(plan, leg);
  const elsewhere = chain.map(({ endpoint }) => endpoint).filter((endpoint) => endpoint !== local);
  const [endpoint = leg.endpoint] = elsewhere;
  return {
    opinion: {
      endpoint,
      here: elsewhere.length === 0,
      outputs,
      agreementRatio: Math.min(...chain.map(({ predicted }) => predicted.agreementRatio)),
    },
    way: JSON.stringify([leg.segment.variant, chain.map(codingOf)]),
    state,
    by: new Set([endpoint, ...elsewhere, ...account.forwarded.flatMap(ranAt)]),
  };
}

function codingOf({ codecs }: Leg): readonly string[] {
  return Object.entries(codecs)
    .map(([name, codec]) => `${name} ${codec}`)
    .sort();
}

/** A leg and those whose output it uses. */
function upTo({ legs }: Pick<Plan, "legs">, leg: Leg): readonly Leg[] {
  const before = legs.find(({ id }) => id === leg.takes);
  return before ? [leg, ...upTo({ legs }, before)] : [leg];
}

function ranAt({ endpoint, forwarded }: Account): readonly EndpointId[] {
  return forwarded.length === 0 ? [endpoint] : forwarded.flatMap(ranAt);
}
