import { local, remote } from "./choices.ts";
import type { ReplayPolicy } from "./policy.ts";

/** One request in this many is sent whatever the belief, so that a link that recovered is noticed. */
const forcedEvery = 32;
/** Width of the confidence that an untried choice is given credit for, in milliseconds. */
const exploration = 30;
/** Weight that an observation keeps with each further one: links drift. */
const memory = 0.95;

/**
 * Learns the time of sending from rewards alone, without a model of the link: a linear bandit with forced samples, after
 * L. Zhang et al., "Autodidactic Neurosurgeon" (WWW 2021). Their context is the cut; with one cut it is the constant and
 * what lies before the upload in the device's own queue. Observations are forgotten slowly, which theirs are not.
 */
export function linUcb(): ReplayPolicy {
  // Ridge regression of the time on (1, own uploads under way): a 2 x 2 matrix and a vector.
  let [a, b, d] = [1, 0, 1];
  let [u, v] = [0, 0];
  const contexts = new Map<number, number>();
  let underWay = 0;
  let count = 0;
  return {
    name: "LinUCB",
    arrived(request, sight) {
      const forced = count++ % forcedEvery === 0;
      const determinant = a * d - b * b;
      const x = underWay;
      const one = (d * u - b * v) / determinant;
      const slope = (a * v - b * u) / determinant;
      const width = Math.sqrt((d - 2 * b * x + a * x * x) / determinant);
      const hopedMs = one + slope * x - exploration * width;
      if (!forced && hopedMs >= sight.localMs + sight.localWaitMs) return local;
      contexts.set(request.id, x);
      underWay += 1;
      return remote();
    },
    ended({ id, tookMs }) {
      const x = contexts.get(id);
      if (x === undefined) return;
      contexts.delete(id);
      underWay -= 1;
      [a, b, d] = [memory * a + 1, memory * b + x, memory * d + x * x + 1e-3];
      [u, v] = [memory * u + tookMs, memory * v + x * tookMs];
    },
  };
}
