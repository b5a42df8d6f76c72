import { spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdir, readdir, readFile } from "node:fs/promises";
import { Agent } from "node:http";
import { join } from "node:path";
import { keda, must } from "../install/index.ts";
import type { RunningControlPlane } from "./control-plane.ts";
import { heavy } from "./autoscaler.ts";
import { inferOnce } from "./load.ts";

/** Values of the chart for a release that KEDA scales from and to zero by `longshore scale`. */
export const kedaValues: object = {
  identity: { secret: "auto-identity" },
  gateway: { enabled: true, dataClass: "internal", resources: {} },
  autoscale: {
    kind: "needed",
    through: "keda",
    objective: "p95=1s",
    minReplicas: 0,
    maxReplicas: 2,
    startSeconds: 5,
    idleMinutes: 0.5,
    credentialSecret: "auto-observe",
  },
};

/** Starts KEDA's operator. Its metrics server is not there: KEDA itself goes from and to zero, and a HorizontalPodAutoscaler from one on. */
export async function startKeda(
  plane: RunningControlPlane,
  folder: string,
  until: KedaRelease["until"],
): Promise<{ close(): void; log(): Promise<string> }> {
  const { operator, definitions } = await keda();
  for (const file of await readdir(definitions)) {
    const text = await readFile(join(definitions, file), "utf8");
    const path = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
    await plane.api.ask("POST", path, text, "application/yaml");
  }
  await plane.api.ask("POST", "/api/v1/namespaces", { metadata: { name: "keda" } });
  const certificates = join(folder, "keda");
  await mkdir(certificates, { recursive: true });
  const at = (name: string): string => join(certificates, name);
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  const names = ["-addext", "subjectAltName=DNS:keda-operator.keda.svc.cluster.local"];
  const out = ["-keyout", at("tls.key"), "-out", at("tls.crt")];
  await must("openssl", ["req", "-x509", ...key, "-subj", "/CN=keda-operator", ...names, ...out]);
  await must("cp", [at("tls.crt"), at("ca.crt")]);
  const file = at("operator.log");
  const args = [
    `--kubeconfig=${plane.kubeconfig}`,
    `--cert-dir=${certificates}`,
    "--metrics-service-bind-address=127.0.0.1:26666",
    "--metrics-bind-address=127.0.0.1:26667",
    "--health-probe-bind-address=127.0.0.1:26668",
    "--enable-cert-rotation=false",
  ];
  const child = spawn(operator, args, {
    env: {
      ...process.env,
      KEDA_CLUSTER_OBJECT_NAMESPACE: "keda",
      POD_NAMESPACE: "keda",
      // All namespaces.
      WATCH_NAMESPACE: "",
      WATCH_LABEL_SELECTOR: "",
      WATCH_LABEL_SELECTOR_FOR_TRIGGERAUTH: "",
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  const log = createWriteStream(file);
  child.stdout.pipe(log, { end: false });
  child.stderr.pipe(log, { end: false });
  let ended = false;
  child.once("exit", () => (ended = true));
  await until("the operator is ready", async () => {
    if (ended) throw new Error(`the operator ended: ${(await readFile(file, "utf8")).slice(-1500)}`);
    const reply = await fetch("http://127.0.0.1:26668/readyz").catch(() => undefined);
    return reply?.status === 200;
  });
  return {
    close: () => void child.kill("SIGKILL"),
    log: async () => (await readFile(file, "utf8")).slice(-1500),
  };
}

/** The release that KEDA scales, and the number of its ready servers. */
export interface KedaRelease {
  readonly gateway: string;
  /** Pods of servers, ready or not. */
  servers(): number;
  until(what: string, holds: () => boolean | Promise<boolean>): Promise<void>;
}

/** No server without requests, one for the first of them, which is held until it is there, and none again. */
export async function checkKeda({ gateway, servers, until }: KedaRelease): Promise<string> {
  await until("no server without requests", () => servers() === 0);
  const told: string[] = [];
  // The second time the gateway knows servers that are gone.
  for (const turn of ["first", "second"]) {
    const startedMs = performance.now();
    const seconds = (): string => ((performance.now() - startedMs) / 1000).toFixed(1);
    const first = inferOnce(gateway, 8000, new Agent(), heavy, { "longshore-deadline": "300000" });
    await until(`a server for the ${turn} request`, () => servers() > 0);
    const came = seconds();
    const { status, text } = await first;
    if (status !== 200) throw new Error(`the ${turn} request: ${status} ${text.slice(0, 300)}`);
    const answered = seconds();
    await until(`no server after the ${turn} request`, () => servers() === 0);
    told.push(
      `0 > 1 > 0: a pod after ${came} s, the held request answered after ${answered} s, none after ${seconds()} s`,
    );
  }
  return told.join("; ");
}
