/**
 * The chart and the picker on a real control plane, in a network namespace of their own: `unshare --net node check.js`. Prints each outcome as a line of
 * JSON.
 */
import { Agent } from "node:http";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { controlPlane, helm, must, run } from "../install/index.ts";
import { writeRepository } from "../models.ts";
import { type Outcome, lastWords } from "../parts/part.ts";
import { command, startEnvoyOn } from "../servers/index.ts";
import type { ApiObject } from "./api.ts";
import { apiAddress, type RunningControlPlane, startControlPlane } from "./control-plane.ts";
import { checkAutoscaler, heavyModel, mostServers, makeSecrets, scaledValues } from "./autoscaler.ts";
import { checkKeda, kedaValues, startKeda } from "./keda.ts";
import { inferOnce, Load } from "./load.ts";
import { NameServer } from "./name-server.ts";
import { NodeAgent } from "./node-agent.ts";
import { checkTokens } from "./tokens.ts";

const namespace = "shop";
const envoyPort = 10_000;
const chart = fileURLToPath(new URL("../../../deploy/chart/longshore", import.meta.url));
const [, , part = "", folder = "", crd = "", ...only] = process.argv;
const addresses = Array.from({ length: 30 }, (_, at) => `192.0.2.${at + 10}`);
const nameAddress = "192.0.2.2";
const tokenAddress = "192.0.2.3";
const models = join(folder, "models");

interface Cluster {
  readonly plane: RunningControlPlane;
  readonly agent: NodeAgent;
  readonly helm: string;
}

function expectThat(holds: boolean, told: string): void {
  if (!holds) throw new Error(told);
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  // A forecast forgets a burst in some minutes.
  const untilMs = performance.now() + 480_000;
  while (!(await holds())) {
    if (performance.now() > untilMs) throw new Error(`${what}: not in eight minutes`);
    await pause(200);
  }
}

/** The last lines of what pods printed, for a report of a failure. */
async function logs(): Promise<string> {
  const texts: string[] = [];
  for (const pod of await readdir(join(folder, "pods")).catch(() => [])) {
    const text = await readFile(join(folder, "pods", pod, "log.txt"), "utf8").catch(() => "");
    texts.push(`${pod}: ${lastWords(text)}`);
  }
  return texts.join("; ").slice(0, 1500);
}

/** `helm` on this cluster. Waits until what it changes is ready. */
async function runHelm({ plane, helm: program }: Cluster, args: readonly string[]): Promise<void> {
  const all = [...args, "--namespace", namespace, "--kubeconfig", plane.kubeconfig];
  const { code, out, err } = await run(program, all, { timeoutMs: 600_000 });
  if (code !== 0) throw new Error(`helm ${args[0]}: ${lastWords(err, out)}; ${await logs()}`);
}

const wait = ["--wait", "--timeout", "4m"];

const pickers = { picker: { enabled: true, dataClass: "internal", resources: {} } };

/** Values of the chart: two servers and two pickers, or what else is given. */
async function values(name: string, server: object, more: object = pickers): Promise<string> {
  const file = join(folder, `${name}.json`);
  const all = {
    identity: { insecure: true },
    server: { repository: { claim: "models" }, zone: "eu", resources: {}, drainSeconds: 10, ...server },
    ...more,
  };
  await writeFile(file, JSON.stringify(all));
  return file;
}

async function install(cluster: Cluster): Promise<string> {
  const startedMs = performance.now();
  await runHelm(cluster, ["install", "shop", chart, "--values", await values("first", {}), ...wait]);
  expectThat(cluster.agent.readyPods === 4, `${cluster.agent.readyPods} of 4 pods are ready`);
  return `4 pods ready after ${((performance.now() - startedMs) / 1000).toFixed(1)} s`;
}

/** Envoy before the two pickers, with the configuration that the command prints. */
async function startEnvoy({ plane, agent }: Cluster): Promise<{ close(): Promise<void> }> {
  const pickers = agent.addressesOf("shop-picker").flatMap((one) => ["--picker", `${one}:9002`]);
  const args = ["pick", "--pool", `${namespace}/shop`, "--tls", "self-signed", "--print-envoy", ...pickers];
  const printed = await run(process.execPath, [command, ...args, "--envoy-port", `${envoyPort}`], {
    env: { KUBECONFIG: plane.kubeconfig },
  });
  expectThat(printed.code === 0, `--print-envoy: ${lastWords(printed.err)}`);
  const file = join(folder, "envoy.yaml");
  await writeFile(file, printed.out);
  return startEnvoyOn({ file, port: envoyPort });
}

/** Waits until a request is answered. Pickers learn pods after they have started. */
async function untilAnswered(): Promise<void> {
  const agent = new Agent();
  let last = "";
  await until("a request through Envoy and a picker is answered", async () => {
    const { status, text } = await inferOnce("127.0.0.1", envoyPort, agent);
    last = `${status} ${text}`;
    return status === 200;
  }).catch(async (thrown: unknown) => {
    throw new Error(`${String(thrown)}: ${last.slice(0, 300)}; ${await logs()}`);
  });
}

/** Does something under load. Every request must be answered. */
async function withoutFailure(work: () => Promise<void>): Promise<string> {
  const load = new Load("127.0.0.1", envoyPort);
  const wrong = await work().then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  await pause(1000);
  const { answered, failures } = await load.stop();
  if (wrong !== undefined) throw wrong;
  const sent = answered + failures.length;
  expectThat(failures.length === 0, `${failures.length} of ${sent} failed, the first with ${failures[0]}`);
  expectThat(answered > 20, `only ${answered} requests were answered`);
  return `${answered} requests, none failed`;
}

const checks: Readonly<Record<string, (cluster: Cluster) => Promise<string>>> = {
  "helm test passes": async (cluster) => {
    await runHelm(cluster, ["test", "shop", "--timeout", "4m"]);
    return "the servers answer by the name of their service";
  },
  "an upgrade and a rollback fail no request": (cluster) =>
    withoutFailure(async () => {
      const changed = await values("second", { args: ["--queue", "64"] });
      await runHelm(cluster, ["upgrade", "shop", chart, "--values", changed, ...wait]);
      await runHelm(cluster, ["rollback", "shop", "1", ...wait]);
    }),
  "more and fewer servers fail no request": (cluster) =>
    withoutFailure(async () => {
      const upgrade = async (replicas: number): Promise<void> => {
        const changed = await values(`with-${replicas}`, { replicas });
        await runHelm(cluster, ["upgrade", "shop", chart, "--values", changed, ...wait]);
        const count = (): number => cluster.agent.addressesOf("shop-server").length;
        await until(`${replicas} servers`, () => count() === replicas);
      };
      await upgrade(4);
      await upgrade(1);
      await upgrade(2);
    }),
  "an API server that dies fails no request, and its pods are followed afterwards": ({ plane, agent }) =>
    withoutFailure(async () => {
      await plane.restartApiServer();
      const before = agent.addressesOf("shop-server");
      const path = `/api/v1/namespaces/${namespace}/pods`;
      const pods = await plane.api.list(`${path}?labelSelector=app.kubernetes.io/component=server`);
      await plane.api.ask("DELETE", `${path}/${pods[0]?.metadata.name}`);
      await until("another pod is ready", () => {
        const now = agent.addressesOf("shop-server");
        return now.length === before.length && now.some((one) => !before.includes(one));
      });
    }),
  "tokens of service accounts count by the API server's own keys": ({ plane, agent }) =>
    checkTokens({ plane, agent, folder, models, address: tokenAddress }),
  "the HorizontalPodAutoscaler follows longshore scale": async (cluster) => {
    const { plane, agent } = cluster;
    const name = "auto";
    await makeSecrets(plane.api, namespace, folder);
    await runHelm(cluster, [
      "install",
      name,
      chart,
      "--values",
      await values(name, {}, scaledValues),
      ...wait,
    ]);
    const [gateway = ""] = agent.addressesOf(`${name}-gateway`);
    const servers = (): number => agent.addressesOf(`${name}-server`).length;
    try {
      return await checkAutoscaler({ api: plane.api, namespace, name, gateway, servers, until });
    } catch (thrown) {
      throw new Error(`${String(thrown)}; at most ${mostServers}; ${await logs()}`, { cause: thrown });
    } finally {
      await runHelm(cluster, ["uninstall", name]);
    }
  },
  "a picker without rights says so": async ({ plane, agent }) => {
    const file = join(folder, "no-rights");
    await plane.kubeconfigFor(await agent.accountToken("default"), file);
    const args = ["pick", "--pool", `${namespace}/shop`, "--port", "0", "--data-class", "internal"];
    const { out, err } = await run(process.execPath, [command, ...args], {
      env: { KUBECONFIG: file },
      timeoutMs: 20_000,
    });
    const told = /forbidden: [^;"]+/.exec(out + err)?.[0] ?? "";
    expectThat(told !== "", `it says ${lastWords(err, out)}`);
    return told;
  },
};

/** From zero to one server and back, by KEDA. */
async function scaleFromZero(cluster: Cluster): Promise<string> {
  const { plane, agent } = cluster;
  const name = "auto";
  const operator = await startKeda(plane, folder, until);
  try {
    await makeSecrets(plane.api, namespace, folder);
    await runHelm(cluster, ["install", name, chart, "--values", await values(name, {}, kedaValues), ...wait]);
    const [gateway = ""] = agent.addressesOf(`${name}-gateway`);
    return await checkKeda({ gateway, servers: () => agent.countOf(`${name}-server`), until });
  } catch (thrown) {
    throw new Error(`${String(thrown)}; ${await logs()}; operator: ${await operator.log()}`, {
      cause: thrown,
    });
  } finally {
    operator.close();
  }
}

async function main(): Promise<void> {
  const tell = (outcome: Outcome): void => console.log(JSON.stringify(outcome));
  for (const one of [apiAddress, nameAddress, tokenAddress, ...addresses])
    await must("ip", ["address", "add", `${one}/32`, "dev", "lo"]);
  await must("ip", ["link", "set", "lo", "up"]);
  await mkdir(join(folder, "pods"), { recursive: true });
  await writeRepository(models);
  await mkdir(join(models, "heavy", "1"), { recursive: true });
  await writeFile(join(models, "heavy", "1", "model.onnx"), heavyModel);
  const plane = await startControlPlane(await controlPlane(), join(folder, "plane"));
  const definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
  await plane.api.ask("POST", definitions, await readFile(crd, "utf8"), "application/yaml");
  await plane.api.ask("POST", "/api/v1/namespaces", {
    metadata: { name: namespace, labels: { "pod-security.kubernetes.io/enforce": "restricted" } },
  });
  await until("the account of the namespace", async () => {
    const accounts: readonly ApiObject[] = await plane.api.list(
      `/api/v1/namespaces/${namespace}/serviceaccounts`,
    );
    return accounts.length > 0;
  });
  const names = await NameServer.start(plane.api, nameAddress);
  const resolver = join(folder, "resolv.conf");
  await writeFile(
    resolver,
    `nameserver ${nameAddress}\nsearch ${namespace}.svc.cluster.local svc.cluster.local\noptions ndots:5\n`,
  );
  // This program has its mounts for itself.
  await must("mount", ["--bind", resolver, "/etc/resolv.conf"]);
  const agent = await NodeAgent.start({
    plane,
    namespace,
    claim: models,
    folder: join(folder, "pods"),
    addresses,
  });
  const cluster: Cluster = { plane, agent, helm: await helm() };
  let envoy: { close(): Promise<void> } | undefined;
  const check = async (name: string, work: () => Promise<string>): Promise<boolean> => {
    try {
      tell({ name, outcome: "passed", detail: await work() });
      return true;
    } catch (thrown) {
      tell({ name, outcome: "failed", detail: thrown instanceof Error ? thrown.message : String(thrown) });
      return false;
    }
  };
  try {
    if (part === "keda") {
      await check("KEDA starts the first server for a held request, and stops the last one", () =>
        scaleFromZero(cluster),
      );
      return;
    }
    const isThere = await check("helm installs servers and pickers, in restricted pods", () =>
      install(cluster),
    );
    if (!isThere) return;
    envoy = await startEnvoy(cluster);
    await untilAnswered();
    for (const [name, work] of Object.entries(checks)) {
      if (only.length === 0 || only.some((word) => name.includes(word)))
        await check(name, () => work(cluster));
    }
  } finally {
    await envoy?.close();
    await agent.close();
    names.close();
    await plane.close();
  }
}

main().then(
  () => process.exit(0),
  (thrown: unknown) => {
    console.error(thrown instanceof Error ? thrown.stack : thrown);
    process.exit(1);
  },
);
