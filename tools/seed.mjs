/** Property tests draw the same each time, so that no run fails by chance; `LONGSHORE_SEED=N` has them draw otherwise. */
import fc from "fast-check";

fc.configureGlobal({ seed: Number(process.env["LONGSHORE_SEED"] ?? 1) });
