/** Watches a pool as `longshore pick --pool` does, in a process of its own, and tells how many entries its directory has. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createDirectory, silentObserver } from "@longshore/core";
import { connectKubernetes, poolSource } from "@longshore/kubernetes";
import { systemClock, systemRandom } from "@longshore/nodejs";
import { kubeconfigOf } from "@longshore/testkit/kubernetes-api";
import type { WatchTold } from "./watch.ts";

const tell = (message: WatchTold): void => void process.send?.(message);

const folder = mkdtempSync(join(tmpdir(), "longshore-watch-"));
const kubeconfig = join(folder, "kubeconfig");
writeFileSync(kubeconfig, kubeconfigOf(new URL(process.argv[2] ?? "")));
const api = connectKubernetes({ kubeconfig });
rmSync(folder, { recursive: true });

const [clock, random] = [systemClock(), systemRandom()];
const directory = createDirectory({
  source: poolSource({ api, namespace: "shop", name: "ocr", trust: "operated", clock, random }),
  clock,
  observer: silentObserver,
  codecs: ["raw"],
  unsignedTrust: "operated",
});
await directory.ready;
tell({ kind: "known", entries: directory.snapshot().entries.length });
directory.watch(() => tell({ kind: "changed" }));
process.on("message", () => tell({ kind: "memory", peakMebibytes: process.resourceUsage().maxRSS / 1024 }));
process.on("disconnect", () => process.exit(0));
