import { type PickerKind, smoothRobin } from "./picker.ts";

/** gRPC's default (A58): how long a new server has the average weight, in milliseconds. */
const blackoutMs = 10_000;
/** gRPC's default: interval between weight updates, in milliseconds. */
const updateMs = 1000;

/**
 * Client-side weighted round robin (gRPC A58, Envoy): weights are requests a second over utilisation, from the load reports
 * on replies.
 */
export const clientWeighted: PickerKind = ({ endpoints, nowMs }) => {
  const states = endpoints.map(() => ({
    answered: 0,
    perSecond: 0,
    utilisation: 0,
    since: Infinity,
    weight: 0,
  }));
  let updatedMs = nowMs();
  const update = (): void => {
    const passedMs = nowMs() - updatedMs;
    if (passedMs < updateMs) return;
    updatedMs = nowMs();
    for (const state of states) {
      const perSecond = (state.answered * 1000) / passedMs;
      state.perSecond =
        state.perSecond === 0 ? perSecond : state.perSecond + 0.3 * (perSecond - state.perSecond);
      state.answered = 0;
      const known = nowMs() - state.since >= blackoutMs && state.utilisation > 0;
      state.weight = known ? state.perSecond / state.utilisation : 0;
    }
    const known = states.filter(({ weight }) => weight > 0);
    const average = known.reduce((total, { weight }) => total + weight, 0) / Math.max(1, known.length);
    for (const state of states) if (state.weight === 0) state.weight = average > 0 ? average : 1;
  };
  const next = smoothRobin(endpoints.length, (index) => states[index]?.weight || 1);
  return {
    name: "client-side weighted round robin",
    pick() {
      update();
      return next();
    },
    sent: () => undefined,
    answered(index, _tookMs, load) {
      const state = states[index];
      if (!state) return;
      state.answered += 1;
      if (state.since === Infinity) state.since = nowMs();
      state.utilisation += 0.1 * (load.cpuRatio - state.utilisation);
    },
  };
};
