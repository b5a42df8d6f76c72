import { fork } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";
import { fakeApiServer, testPaths, testPod, testPool } from "@longshore/testkit/kubernetes-api";

/** Figures of a process that watches a large pool. */
export interface WatchFigures {
  readonly knownMs: number;
  /** Resident memory at most. */
  readonly peakMebibytes: number;
  /** From the change at the API server to the directory without or with the pod, the longest. */
  readonly changeMs: number;
  readonly changes: number;
  readonly [figure: string]: number;
}

/** The report of the watching process. */
export type WatchTold =
  | { readonly kind: "known"; readonly entries: number }
  | { readonly kind: "changed" }
  | { readonly kind: "memory"; readonly peakMebibytes: number };

const changes = 40;
/** Annotations and status of a real pod have a few kilobytes. */
const padding = "x".repeat(4000);

const addressOf = (index: number): string => `10.${(index >> 16) & 255}.${(index >> 8) & 255}.${index & 255}`;

/** Watches a pool of so many pods in a process of its own, and changes some of them. */
export async function watchFigures(pods: number): Promise<WatchFigures> {
  const api = await fakeApiServer();
  api.put(testPaths.pools, testPool("ocr", { app: "ocr" }));
  for (let index = 0; index < pods; index++) {
    api.put(testPaths.pods, testPod(`ocr-${index}`, addressOf(index), { padding }));
  }
  const startedMs = performance.now();
  const child = fork(fileURLToPath(new URL("./watch-process.js", import.meta.url)), [api.url.href]);
  try {
    const told = async (kind: WatchTold["kind"]): Promise<WatchTold> => {
      for (;;) {
        // Only the bench that forked this process is written to.
        const [message] = (await once(child, "message")) as [WatchTold];
        if (message.kind === kind) return message;
      }
    };
    const known = await told("known");
    if (known.kind !== "known" || known.entries !== pods)
      throw new Error(`not all pods are known: ${JSON.stringify(known)}`);
    const knownMs = performance.now() - startedMs;
    let changeMs = 0;
    for (let index = 0; index < changes; index++) {
      const fromMs = performance.now();
      const heard = told("changed");
      api.put(testPaths.pods, testPod(`ocr-${index}`, addressOf(index), { padding, ready: index % 2 === 1 }));
      if (index % 2 === 1)
        api.put(testPaths.pods, testPod(`new-${index}`, addressOf(pods + index), { padding }));
      await heard;
      changeMs = Math.max(changeMs, performance.now() - fromMs);
    }
    const memory = told("memory");
    child.send("memory");
    const last = await memory;
    return { knownMs, peakMebibytes: last.kind === "memory" ? last.peakMebibytes : NaN, changeMs, changes };
  } finally {
    child.disconnect();
    if (child.exitCode === null) await once(child, "exit");
    await api.close();
  }
}
