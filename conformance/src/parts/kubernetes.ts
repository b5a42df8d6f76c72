import { existsSync } from "node:fs";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { controlPlane, envoy, helm, keda, run, Unavailable } from "../install/index.ts";
import { inFolder, lastWords, type Outcome, type Part, type PartContext } from "./part.ts";

const crdFile = "contracts/k8s/inference.networking.k8s.io_inferencepools.yaml";
const script = fileURLToPath(new URL("../cluster/check.js", import.meta.url));

async function check(part: "kubernetes" | "keda", context: PartContext, folder: string): Promise<void> {
  const data = process.env["LONGSHORE_DATA"] ?? resolve("../shared/data");
  const crd = join(data, crdFile);
  if (!existsSync(crd)) throw new Unavailable(`it needs ${crdFile} of the shared data (LONGSHORE_DATA)`);
  // Inside the namespace nothing can be fetched.
  await controlPlane();
  await helm();
  await envoy();
  if (part === "keda") await keda();
  // With a process namespace nothing of it outlives this program.
  const args = [
    "--net",
    "--mount",
    "--pid",
    "--fork",
    "--kill-child",
    process.execPath,
    script,
    part,
    folder,
    crd,
    ...context.only,
  ];
  const { code, out, err } = await run("unshare", args, { timeoutMs: 1_800_000 });
  if (/unshare failed/.test(err)) throw new Unavailable("it needs the right to make network namespaces");
  for (const line of out.split("\n")) {
    // The script prints nothing else.
    if (line.startsWith("{")) context.told(JSON.parse(line) as Outcome);
  }
  if (code !== 0) throw new Error(`the checks ended with ${code}: ${lastWords(err)}`);
}

/**
 * The chart and pickers on the API server and the controllers of Kubernetes. A stand-in for the kubelet runs pods as processes, in a network namespace.
 */
export const kubernetesPart: Part = {
  name: "kubernetes",
  dear: true,
  run: (context) => inFolder("kubernetes", (folder) => check("kubernetes", context, folder)),
};

/** The same cluster with KEDA's operator, which scales the chart's servers from and to zero by `longshore scale`. */
export const kedaPart: Part = {
  name: "keda",
  dear: true,
  run: (context) => inFolder("keda", (folder) => check("keda", context, folder)),
};
