/** Property tests draw the same each time, so that no run fails at random; `LONGSHORE_SEED=N` draws others. */
import fc from "fast-check";

const asked = process.env["LONGSHORE_SEED"] ?? "1";
if (!/^-?\d{1,10}$/.test(asked)) throw new Error(`LONGSHORE_SEED is "${asked}": give an integer`);
fc.configureGlobal({ seed: Number(asked) });
