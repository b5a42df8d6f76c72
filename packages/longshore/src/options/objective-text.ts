/** What `--objective` takes, and `--goal`; see `Objective`. */
export const objectiveText =
  "what to make small: latency, p95 (any percentile), chance (to miss --deadline), energy, cost, accuracy, throughput, or a weighted sum: mean=1,energy=0.2";

/** What `--in-time` says. */
export const inTimeText =
  "how surely --deadline is to be kept before that counts, above 0 to 1, such as 0.99 (default: in the mean, or in the percentile that is made small)";
