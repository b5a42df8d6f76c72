import { type Account, endCut, type Result, startCut } from "@longshore/core";

/** Accounts that led from the inputs to the answer, in order; those of legs that lost are left out. */
function contributed(result: Result): readonly Account[] {
  const way: Account[] = [];
  let at: string = startCut;
  for (const account of result.accounts) {
    if (account.segment.from !== at) continue;
    // Two segments in a row at one endpoint are one stay there.
    if (way.at(-1)?.endpoint !== account.endpoint) way.push(account);
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

/** The other attempts: endpoints that failed, that were too late for their back-up, and back-ups that lost. */
function besides(result: Result): string {
  const first = result.plans[0]?.legs[0]?.endpoint;
  const words = result.lostLegs.map(({ endpoint, why }) => {
    // A leg that failed says its reason first; one that another overtook does not.
    if (/^[a-z-]+: /.test(why) && !why.startsWith("cancelled: ")) return `${endpoint} failed`;
    return endpoint === first ? `${endpoint} was late` : `${endpoint} as back-up`;
  });
  return words.length > 0 ? `; ${[...new Set(words)].join(", ")}` : "";
}

/**
 * Where a request ran: `edge`, or `device > cloud (at turn, jpeg-85)` after a cut, with the variant if it is the large one, and
 * with the other attempts: `device; edge failed`.
 */
export function wayOf(result: Result): string {
  const words = contributed(result).map((account) => {
    const notes = [
      ...(account.segment.variant === "960" ? ["960 px"] : []),
      ...(account.segment.from === startCut ? [] : [`at ${account.segment.from}`]),
      ...codecsOf(result, account),
    ];
    return notes.length > 0 ? `${account.endpoint} (${notes.join(", ")})` : account.endpoint;
  });
  return `${words.join(" > ") || result.where}${besides(result)}`;
}
