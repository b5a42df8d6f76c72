const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** Runs of the model so far at each server, as it counts them itself. */
async function runsAt(servers: readonly string[]): Promise<readonly number[]> {
  return Promise.all(
    servers.map(async (server) => {
      // After a fault that is not made good a server may be gone.
      const reply = await fetch(`http://${server}/v2/models/mean/stats`, {
        signal: AbortSignal.timeout(1000),
      }).catch(() => undefined);
      if (!reply?.ok) return 0;
      // As Triton's statistics are written.
      const { model_stats: stats } = (await reply.json()) as { model_stats: { inference_count: number }[] };
      return stats.reduce((total, one) => total + one.inference_count, 0);
    }),
  );
}

/** Shares of the servers in the runs of the next `forMs` milliseconds: whether a fault of one is met at all. */
export async function sharesOf(servers: readonly string[], forMs: number): Promise<readonly number[]> {
  const before = await runsAt(servers);
  await pause(forMs);
  const after = await runsAt(servers);
  const runs = after.map((count, index) => count - (before[index] ?? 0));
  const all = runs.reduce((total, count) => total + count, 0);
  return runs.map((count) => (all > 0 ? count / all : 0));
}
