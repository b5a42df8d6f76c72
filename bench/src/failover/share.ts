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

/** Share of the runs of the next `forMs` milliseconds that one of the servers gets: whether a fault there is met at all. */
export async function shareOf(servers: readonly string[], victim: number, forMs: number): Promise<number> {
  const before = await runsAt(servers);
  await pause(forMs);
  const after = await runsAt(servers);
  const runs = after.map((count, index) => count - (before[index] ?? 0));
  const all = runs.reduce((total, count) => total + count, 0);
  return all > 0 ? (runs[victim] ?? 0) / all : NaN;
}
