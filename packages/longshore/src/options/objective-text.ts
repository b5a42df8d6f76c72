/** The values of `--objective` and `--goal`; see `Objective`. */
export const objectiveText =
  "objective: latency, p95 (any percentile), chance (to miss --deadline), energy, cost, carbon (CO2 of zones), accuracy, throughput, or a weighted sum: mean=1,energy=0.2";

/** The help of `--in-time`. */
export const inTimeText =
  "share of cases in which --deadline must hold, such as 0.99 (default: in the mean, or in the percentile of the objective)";
