import { readFile } from "node:fs/promises";
import { Agent } from "node:http";
import { join } from "node:path";
import { denseModel } from "../dense-models.ts";
import { must } from "../install/index.ts";
import { command } from "../servers/index.ts";
import type { ClusterApi } from "./api.ts";
import { type Asked, inferOnce, Load } from "./load.ts";

/** A model that works for some milliseconds. */
export const heavyModel: Uint8Array = denseModel({
  input: { name: "x", shape: [1, 16] },
  output: "y",
  seed: 5,
});

/** A request for that model. */
export const heavy: Asked = {
  model: "heavy",
  body: JSON.stringify({
    inputs: [{ name: "x", datatype: "FP32", shape: [1, 16], data: Array.from({ length: 16 }, () => 1) }],
  }),
  answer: '"y"',
};

/** Most servers of the release that is scaled. */
export const mostServers = 3;

/** Values of the chart for a release that the HorizontalPodAutoscaler scales by `longshore scale`. */
export const scaledValues: object = {
  identity: { secret: "auto-identity" },
  gateway: { enabled: true, dataClass: "internal", resources: {} },
  autoscale: {
    kind: "needed",
    through: "hpa",
    objective: "p95=1s",
    minReplicas: 1,
    maxReplicas: mostServers,
    startSeconds: 5,
    credentialSecret: "auto-observe",
  },
};

/** Makes the secrets of that release: everyone may infer, and a key of `longshore keys add` reads metrics. */
export async function makeSecrets(api: ClusterApi, namespace: string, folder: string): Promise<void> {
  const keys = join(folder, "keys.json");
  const add = ["keys", "add", "--file", keys, "--tenant", "monitoring", "--right", "observe"];
  const key = (await must(process.execPath, [command, ...add])).trim();
  const identity = ["keys: { file: keys.json }", "anonymous: { tenant: apps, rights: [infer] }"];
  const files = {
    "identity.yaml": `${identity.join("\n")}\n`,
    "keys.json": await readFile(keys, "utf8"),
    "keys.json.pepper": await readFile(`${keys}.pepper`, "utf8"),
  };
  const make = (name: string, stringData: object): Promise<unknown> =>
    api.ask("POST", `/api/v1/namespaces/${namespace}/secrets`, { metadata: { name }, stringData });
  await make("auto-identity", files);
  await make("auto-observe", { credential: key });
}

interface Autoscaler {
  readonly status?: {
    readonly currentReplicas?: number;
    readonly desiredReplicas?: number;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly message: string;
    }[];
  };
}

/** Load on the gateway of a release and the number of its servers, as the cluster's own controller sets it. */
export interface ScaledRelease {
  readonly api: ClusterApi;
  readonly namespace: string;
  readonly name: string;
  /** The address of the gateway. */
  readonly gateway: string;
  /** Ready servers. */
  servers(): number;
  until(what: string, holds: () => boolean | Promise<boolean>): Promise<void>;
}

/** One server, more under load, and one again: the numbers in their order. */
export async function checkAutoscaler(release: ScaledRelease): Promise<string> {
  const { api, namespace, name, gateway, servers, until } = release;
  const path = `/apis/autoscaling/v2/namespaces/${namespace}/horizontalpodautoscalers/${name}-server`;
  const state = async (): Promise<string> => {
    const { status = {} } = await api.ask<Autoscaler>("GET", path);
    const wrong = (status.conditions ?? []).find(
      ({ type, status }) => type === "ScalingActive" && status !== "True",
    );
    return `${status.currentReplicas} of ${status.desiredReplicas} wanted${wrong ? `: ${wrong.message}` : ""}`;
  };
  const service = "/apis/apiregistration.k8s.io/v1/apiservices/v1beta1.external.metrics.k8s.io";
  const needed = async (): Promise<number> => {
    const metric = `/apis/external.metrics.k8s.io/v1beta1/namespaces/${namespace}/longshore-needed-endpoints`;
    const { items } = await api.ask<{ readonly items: readonly { readonly value: string }[] }>("GET", metric);
    return Number(items[0]?.value);
  };
  const within = async (what: string, holds: () => boolean | Promise<boolean>): Promise<void> => {
    await until(what, holds).catch(async (thrown: unknown) => {
      const metric = await needed().catch((why: unknown) => String(why).slice(0, 300));
      throw new Error(`${String(thrown)}; autoscaler: ${await state()}; metric: ${metric}`);
    });
  };
  await within("the API of external metrics is available", async () => {
    const { status } = await api.ask<{
      readonly status?: {
        readonly conditions?: readonly { readonly type: string; readonly status: string }[];
      };
    }>("GET", service);
    return status?.conditions?.some((one) => one.type === "Available" && one.status === "True") === true;
  });
  const agent = new Agent();
  await within(
    "the gateway answers",
    async () => (await inferOnce(gateway, 8000, agent, heavy)).status === 200,
  );
  await within("one server", () => servers() === 1);
  const startedMs = performance.now();
  const seconds = (): string => ((performance.now() - startedMs) / 1000).toFixed(0);
  const load = new Load(gateway, 8000, heavy, 5);
  let [most, wanted, told] = [0, 0, ""];
  try {
    await within("more servers under load", async () => {
      wanted = Math.max(wanted, await needed());
      most = Math.max(most, servers());
      return most > 1;
    });
    told = `${most} servers after ${seconds()} s (metric ${wanted})`;
  } finally {
    const { answered, failures } = await load.stop();
    told += `, ${answered} answered, ${failures.length} failed`;
  }
  await within("one server again", async () => {
    most = Math.max(most, servers());
    return servers() === 1 && (await needed()) === 1;
  });
  return `1 > ${most} > 1: ${told}, one again after ${seconds()} s`;
}
