import type { Choice } from "./policy.ts";

/** Run here. */
export const local: Choice = { where: "local" };

/** Send, and start the run here after `backupMs`; never by default. */
export const remote = (backupMs: number = Infinity): Choice => ({ where: "remote", backupMs });
