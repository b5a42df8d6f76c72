import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { helm, must, run } from "../install/index.ts";
import { writeRepository } from "../models.ts";
import { buildOwnImage, freePort, openPodman, ownImage } from "../servers/index.ts";
import { inFolder, lastWords, type Open, type Part, type PartContext, reportCheck } from "./part.ts";

/** Helm that is built from its module takes the cluster for Kubernetes 1.20. */
const cluster = ["--kube-version", "1.31.0"];
const chart = fileURLToPath(new URL("../../../deploy/chart/longshore", import.meta.url));

/** Values that a user might give, by what they are for; each renders. */
const good: Readonly<Record<string, object>> = {
  "the least": { identity: { insecure: true } },
  "everything, scaled by KEDA": {
    identity: { secret: "longshore-identity" },
    image: { repository: "registry.example/longshore", digest: `sha256:${"0".repeat(64)}` },
    server: {
      models: {
        from: `oci:registry.example/models@sha256:${"1".repeat(64)}`,
        packages: ["ocr", `sha256:${"2".repeat(64)}`],
        operatorKeys: "ed25519 AAAA operator",
        credentialSecret: "registry",
      },
      args: ["--queue", "64"],
      nodeSelector: { "kubernetes.io/arch": "amd64" },
      tolerations: [{ key: "gpu", operator: "Exists" }],
    },
    gateway: { enabled: true, dataClass: "internal" },
    route: { enabled: true, parentRefs: [{ name: "front" }], hostnames: ["models.example"] },
    autoscale: { kind: "keda", minReplicas: 0, prometheus: "http://prometheus:9090" },
    networkPolicy: { from: [{ namespaceSelector: { matchLabels: { team: "shop" } } }] },
    serviceMonitor: { enabled: true, labels: { release: "prometheus" }, credentialSecret: "observe" },
  },
  "pickers before the servers": {
    identity: { secret: "longshore-identity" },
    picker: {
      enabled: true,
      dataClass: "internal",
      credentialSecret: "servers",
      args: ["--most-in-flight=64"],
    },
    route: { enabled: true, parentRefs: [{ name: "front" }] },
  },
  "the needed servers, from zero by KEDA": {
    identity: { secret: "longshore-identity" },
    gateway: { enabled: true, dataClass: "internal" },
    autoscale: { kind: "needed", minReplicas: 0, objective: "p95=200ms", credentialSecret: "observe" },
  },
  "the needed servers, by the metrics API": {
    identity: { secret: "longshore-identity" },
    gateway: { enabled: true, dataClass: "internal" },
    autoscale: { kind: "needed", through: "hpa", objective: "misses=1%,deadline=2s" },
  },
  "a claim, scaled by the processor": {
    identity: { insecure: true },
    server: { repository: { claim: "models" } },
    autoscale: { kind: "hpa" },
  },
};

/** Values that are refused, and what helm says. */
const wrong: readonly (readonly [values: object, told: RegExp])[] = [
  [{}, /identity/],
  [{ identity: { insecure: true, secret: "both" } }, /identity/],
  [{ identity: { insecure: true }, server: { replicas: -1 } }, /server.replicas/],
  [{ identity: { insecure: true }, server: { model: {} } }, /server/],
  [
    { identity: { insecure: true }, server: { models: { from: "oci:registry.example/m" } } },
    /server.models.packages/,
  ],
  [{ identity: { insecure: true }, picker: { failureMode: "Open" } }, /picker.failureMode/],
  [{ identity: { insecure: true }, route: { enabled: true } }, /route.parentRefs/],
  [{ identity: { insecure: true }, autoscale: { kind: "keda" } }, /autoscale.prometheus/],
  [{ identity: { insecure: true }, autoscale: { kind: "hpa", minReplicas: 0 } }, /autoscale.minReplicas/],
  [{ identity: { secret: "s" }, autoscale: { kind: "needed" } }, /gateway.enabled/],
  [
    { identity: { insecure: true }, gateway: { enabled: true }, autoscale: { kind: "needed" } },
    /identity.insecure/,
  ],
  [{ identity: { insecure: true }, serviceMonitor: { enabled: true } }, /identity.insecure/],
  [
    {
      identity: { secret: "s" },
      gateway: { enabled: true },
      autoscale: { kind: "needed", through: "hpa", minReplicas: 0 },
    },
    /autoscale.minReplicas/,
  ],
];

function expectThat(holds: boolean, told: string): void {
  if (!holds) throw new Error(told);
}

/** The demands of restricted Pod Security, once for each container. */
const restricted = [
  "runAsNonRoot: true",
  "seccompProfile: { type: RuntimeDefault }",
  "allowPrivilegeEscalation: false",
  "readOnlyRootFilesystem: true",
  "capabilities: { drop: [ALL] }",
];

async function checkRendering(program: string, folder: string): Promise<string> {
  let documents = 0;
  for (const [name, values] of Object.entries(good)) {
    const file = join(folder, "values.json");
    await writeFile(file, JSON.stringify(values));
    const linted = await run(program, ["lint", "--strict", ...cluster, chart, "--values", file]);
    expectThat(linted.code === 0, `${name}: ${lastWords(linted.err, linted.out)}`);
    const template = ["template", "shop", chart, ...cluster, "--namespace", "shop", "--values", file];
    const text = await must(program, template);
    const pods = text.split(/^---$/m).filter((one) => /^kind: (?:Deployment|Pod)$/m.test(one));
    expectThat(pods.length >= 2, `${name}: ${pods.length} pods`);
    for (const pod of pods) {
      const missing = restricted.filter((line) => !pod.includes(line));
      expectThat(missing.length === 0, `${name}: a pod lacks ${missing.join(", ")}`);
    }
    documents += text.split(/^kind: /m).length - 1;
  }
  return `${Object.keys(good).length} sets of values, ${documents} objects`;
}

async function checkRefusals(program: string, folder: string): Promise<string> {
  for (const [values, told] of wrong) {
    const file = join(folder, "values.json");
    await writeFile(file, JSON.stringify(values));
    const { code, err } = await run(program, ["template", "shop", chart, ...cluster, "--values", file]);
    expectThat(
      code !== 0 && told.test(err.replaceAll("/", ".")),
      `${JSON.stringify(values)} ended with ${code}: ${err.slice(0, 500)}`,
    );
  }
  return `${wrong.length} sets of values`;
}

/** The server's pod of the chart as podman runs it: on this machine's network and ports, with models of a folder. */
async function podOf(program: string, folder: string, port: number): Promise<string> {
  const file = join(folder, "values.json");
  await writeFile(
    file,
    JSON.stringify({ identity: { insecure: true }, server: { args: ["--log-level", "warning"] } }),
  );
  const only = ["--values", file, "--show-only", "templates/server.yaml"];
  const template = ["template", "shop", chart, ...cluster, ...only];
  const text = await must(program, template);
  const [, body = ""] = /^ {2}template:\n((?: {4}.*\n| *\n)+)/m.exec(text) ?? [];
  const pod = body
    .replace(/^ {4}/gm, "")
    .replace("metadata:\n", "metadata:\n  name: shop\n")
    .replace("spec:\n", "spec:\n  hostNetwork: true\n")
    .replace(
      /emptyDir: \{ sizeLimit: 1Mi \}/,
      `hostPath: { path: ${JSON.stringify(join(folder, "models"))} }`,
    )
    // On this machine's network podman maps no ports, and knows none by name.
    .replace(/^ +ports:\n(?: +- \{ name: \w+, containerPort: \d+ \}\n)+/m, "")
    .replaceAll("port: http", `port: ${port}`)
    .replaceAll("8000", `${port}`)
    .replaceAll("8001", `${port + 1}`)
    .replaceAll("8002", `${port + 2}`);
  return `apiVersion: v1\nkind: Pod\n${pod}`;
}

async function checkPod(program: string, folder: string, open: Open[]): Promise<string> {
  const podman = await openPodman(folder);
  open.push(podman);
  await buildOwnImage(podman, folder);
  await writeRepository(join(folder, "models"));
  const port = await freePort();
  const file = join(folder, "pod.yaml");
  await writeFile(file, await podOf(program, folder, port));
  const played = await podman.run(["kube", "play", file]);
  expectThat(
    played.code === 0,
    `podman kube play: ${lastWords(played.err)}\n${await readFile(file, "utf8")}`,
  );
  const startedMs = performance.now();
  for (;;) {
    const ready = await fetch(`http://127.0.0.1:${port}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (ready) break;
    if (performance.now() - startedMs > 120_000) {
      const { out, err } = await podman.run(["logs", "shop-server"]);
      throw new Error(`not ready in two minutes: ${lastWords(out, err)}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  const metrics = await fetch(`http://127.0.0.1:${port + 2}/metrics`);
  expectThat(metrics.status === 200, `metrics: ${metrics.status}`);
  const { code } = await podman.run(["pod", "stop", "--time", "60", "shop"]);
  expectThat(code === 0, `podman pod stop ended with ${code}`);
  const { out } = await podman.run(["inspect", "shop-server", "--format={{.State.ExitCode}}"]);
  expectThat(out.trim() === "0", `it ended with ${out.trim()}`);
  return `${ownImage} ready, drained, exit code 0`;
}

async function check(context: PartContext, folder: string, open: Open[]): Promise<void> {
  const told = (name: string, work: () => Promise<string>): Promise<void> => reportCheck(context, name, work);
  const program = await helm();
  await told("helm lints and renders it, with restricted pods", () => checkRendering(program, folder));
  await told("helm refuses values that contradict the schema", () => checkRefusals(program, folder));
  await told("podman runs the server's pod of it", () => checkPod(program, folder, open));
}

/** The Helm chart, by helm itself, and its pod by podman. */
export const chartPart: Part = {
  name: "chart",
  dear: true,
  run: (context) => inFolder("chart", (folder, open) => check(context, folder, open)),
};
