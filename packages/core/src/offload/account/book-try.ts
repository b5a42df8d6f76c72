import { type Call, type Clock, LongshoreError } from "../../words/base/index.ts";
import type { Endpoint } from "../../wire/endpoint/index.ts";
import type { DeviceDemand, Tries } from "../../decide/estimate/index.ts";
import { latestOf, type Plan } from "../../decide/plan/index.ts";
import type { EndpointStates } from "../endpoints/index.ts";
import type { Tally } from "./tally.ts";

/** A request that could have run twice: what the books of an endpoint are told of it in the end. */
interface Tried {
  readonly books: Tries;
}

/** Where requests run. */
interface Where {
  readonly clock: Clock;
  readonly local: Pick<Endpoint, "info"> | undefined;
  readonly endpoints: Pick<EndpointStates, "all">;
  readonly arrivals?: Pick<DeviceDemand, "ended">;
}

/** A request whose answer says nothing of the endpoint. */
const unanswered = { tookMs: undefined, deadlineMs: Infinity };

/** Told of each plan of a request, and whether it follows one that failed. */
export type Planned = (plan: Plan, again: boolean) => void;

/**
 * Answers a request, and tells the books of the endpoint that it tried first, or that its last head was made for, once how that ended:
 * from the request's begin to its answer, however many plans that took.
 */
export async function bookTry<T>(
  where: Where,
  { deadlineMs }: Call,
  tally: Tally,
  answer: (planned: Planned) => Promise<T>,
): Promise<T> {
  const { clock } = where;
  const beganMs = clock.nowMs();
  let tried: Tried | undefined;
  const note = (tookMs: number | undefined): void => {
    const { spent = [] } = tally;
    tally.spent = undefined;
    const nowMs = clock.nowMs();
    where.arrivals?.ended(tally.ranHere);
    // A plan that was made beside the first is paid for where it went, and so is earned back there.
    for (const books of new Set(spent)) {
      if (books !== tried?.books) books.ended(unanswered, nowMs);
    }
    tried?.books.ended({ tookMs, deadlineMs: deadlineMs - beganMs }, nowMs);
  };
  try {
    const outcome = await answer((plan, again) => {
      if (!again) tried = triedBy(where, plan) ?? tried;
    });
    note(clock.nowMs() - beganMs);
    return outcome;
  } catch (thrown) {
    // What the deadline ended is as late as can be; what failed or was given up says nothing of how long answers take.
    const late = thrown instanceof LongshoreError && thrown.reason === "deadline-exceeded";
    note(late ? Infinity : undefined);
    throw thrown;
  }
}

/**
 * The books of the endpoint to which a plan sends a request while another run could follow, or that is next in line where it stays
 * here. Undefined where it could not have run twice.
 */
function triedBy({ endpoints, local }: Where, { legs }: Plan): Tried | undefined {
  const away = legs.find(({ travels }) => travels);
  const books = away && endpoints.all.get(away.endpoint)?.books;
  if (!books) return undefined;
  const here = legs.find(({ id, endpoint }) => id === "local" && endpoint === local?.info.id);
  const stayed = here !== undefined && here === legs[0];
  if (!stayed && !legs.some((leg) => latestOf(leg, away) !== undefined)) return undefined;
  return { books };
}
