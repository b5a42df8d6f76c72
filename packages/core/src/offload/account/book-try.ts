import { type Call, type Clock, LongshoreError } from "../../words/base/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import type { DeviceDemand, Tries } from "../../decide/estimate/index.ts";
import { latestOf, type Plan } from "../../decide/plan/index.ts";
import type { EndpointStates } from "../endpoints/index.ts";
import type { Tally } from "./tally.ts";

/** Where requests may run. */
interface Where {
  readonly clock: Clock;
  readonly local: Pick<Endpoint, "info"> | undefined;
  readonly endpoints: Pick<EndpointStates, "all">;
  readonly arrivals?: Pick<DeviceDemand, "ended">;
}

/** Outcome of a request whose answer says nothing about the endpoint. */
const unanswered = { tookMs: undefined, deadlineMs: Infinity };

/** Called with each plan of a request. `again` means that an earlier plan failed. */
export type Planned = (plan: Plan, again: boolean) => void;

/**
 * Answers a request, and records its outcome once for the endpoint that it tried first or that its last head was made for. The recorded
 * time runs from the start of the request to its answer, over all its plans.
 */
export async function bookTry<T>(
  where: Where,
  { deadlineMs }: Call,
  tally: Tally,
  answer: (planned: Planned) => Promise<T>,
): Promise<T> {
  const { clock } = where;
  const beganMs = clock.nowMs();
  /** The records that get the outcome, if the request could have run twice. */
  let tried: Tries | undefined;
  const note = (tookMs: number | undefined): void => {
    const { spent } = tally;
    tally.spent = undefined;
    const nowMs = clock.nowMs();
    where.arrivals?.ended(tally.ranHere);
    // A plan made beside the first is paid from the records of its own endpoint, so it is earned back there.
    for (const books of spent ? new Set(spent) : []) {
      if (books !== tried) books.ended(unanswered, nowMs);
    }
    tried?.ended({ tookMs, deadlineMs: deadlineMs - beganMs }, nowMs);
  };
  try {
    const outcome = await answer((plan, again) => {
      if (!again) tried = triedBy(where, plan) ?? tried;
    });
    note(clock.nowMs() - beganMs);
    return outcome;
  } catch (thrown) {
    // A request that its deadline ended is as late as possible. Other failures and cancellations say nothing about answer times.
    const late = thrown instanceof LongshoreError && thrown.reason === "deadline-exceeded";
    note(late ? Infinity : undefined);
    throw thrown;
  }
}

/**
 * The records of the endpoint that gets the request while another run could follow, or that is the best alternative if the request stays
 * here. Undefined if the request could not have run twice.
 */
function triedBy({ endpoints, local }: Where, { legs }: Plan): Tries | undefined {
  const away = legs.find(({ travels }) => travels);
  const books = away && endpoints.all.get(away.endpoint)?.tries.books;
  if (!books) return undefined;
  const here = legs.find(({ id, endpoint }) => id === "local" && endpoint === local?.info.id);
  const stayed = here !== undefined && here === legs[0];
  if (!stayed && !legs.some((leg) => latestOf(leg, away) !== undefined)) return undefined;
  return books;
}
