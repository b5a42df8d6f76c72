import { type Account, endCut, type Result, startCut } from "@longshore/core";

/** Accounts that led from the inputs to the answer, in order; those of legs that lost are left out. */
function contributed(result: Result): readonly Account[] {
  const way: Account[] = [];
  let at: string = startCut;
  for (const account of result.accounts) {
    if (account.segment.from !== at) continue;
    way.push(account);
    at = account.segment.to;
    if (at === endCut) return way;
  }
  return way;
}

/** Codecs other than raw that a leg's crossing travelled in, as the plans have it. */
function codecsOf(result: Result, account: Account): readonly string[] {
  const leg = result.plans
    .flatMap((plan) => plan.legs)
    .find(
      ({ endpoint, segment }) =>
        endpoint === account.endpoint &&
        segment.from === account.segment.from &&
        segment.to === account.segment.to,
    );
  return leg ? [...new Set(Object.values(leg.codecs))].filter((codec) => codec !== "raw") : [];
}

/**
 * Where a request ran: `edge`, or `device > cloud (at turn, jpeg-85)` after a cut, with the variant where it is
 * the large one, and with places that were asked and did not give the answer: `device, not edge`.
 */
export function wayOf(result: Result): string {
  const way = contributed(result);
  const words = way.map((account) => {
    const notes = [
      ...(account.segment.from === startCut ? [] : [`at ${account.segment.from}`]),
      ...codecsOf(result, account),
    ];
    return notes.length > 0 ? `${account.endpoint} (${notes.join(", ")})` : account.endpoint;
  });
  const tried = [...new Set(result.lostLegs.map(({ endpoint }) => endpoint))].filter(
    (endpoint) => endpoint !== result.where,
  );
  const after = tried.length > 0 ? `, not ${tried.join(", ")}` : "";
  const { variant } = way[0]?.segment ?? { variant: "" };
  return `${words.join(" > ") || result.where}${variant === "960" ? " 960" : ""}${after}`;
}
