import { type ChildProcess, spawn } from "node:child_process";
import { createWriteStream } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { command } from "../servers/index.ts";
import type { ApiObject, ClusterApi } from "./api.ts";
import type { RunningControlPlane } from "./control-plane.ts";

/** The fields of a pod that this program acts on. */
interface PodObject extends ApiObject {
  readonly status?: { readonly phase?: string };
  readonly spec: {
    readonly nodeName?: string;
    readonly restartPolicy?: string;
    readonly serviceAccountName?: string;
    readonly automountServiceAccountToken?: boolean;
    readonly containers: readonly {
      readonly name: string;
      readonly image: string;
      readonly command?: readonly string[];
      readonly args?: readonly string[];
      readonly ports?: readonly { readonly name?: string; readonly containerPort: number }[];
      readonly readinessProbe?: {
        readonly httpGet?: { readonly path: string; readonly port: string | number };
      };
      readonly lifecycle?: { readonly preStop?: { readonly sleep?: { readonly seconds: number } } };
      readonly volumeMounts?: readonly { readonly name: string; readonly mountPath: string }[];
    }[];
    readonly volumes?: readonly {
      readonly name: string;
      readonly persistentVolumeClaim?: unknown;
      readonly configMap?: { readonly name: string };
      readonly secret?: { readonly secretName: string };
    }[];
  };
}

/** A pod that runs here as a process. */
interface RunningPod {
  readonly address: string;
  child: ChildProcess;
  isReady: boolean;
  isEnding: boolean;
  restarts: number;
  /** The condition that was last written. */
  told: string;
}

/** How the agent runs pods. */
export interface NodeAgentOptions {
  readonly plane: RunningControlPlane;
  readonly namespace: string;
  /** The content of every PersistentVolumeClaim. */
  readonly claim: string;
  readonly folder: string;
  /** Addresses for pods, which an interface must have. */
  readonly addresses: readonly string[];
}

const nodeName = "node-1";

/**
 * Stands in for scheduler and kubelet: runs each pod of a namespace as a process of this checkout, on an
 * address of its own, probes its readiness and drains it as a kubelet does.
 */
export class NodeAgent {
  readonly #options: NodeAgentOptions;
  readonly #api: ClusterApi;
  readonly #pods = new Map<string, RunningPod>();
  readonly #free: string[];
  #isClosed = false;
  #looping: Promise<void> = Promise.resolve();

  private constructor(options: NodeAgentOptions) {
    this.#options = options;
    this.#api = options.plane.api;
    this.#free = [...options.addresses];
  }

  static async start(options: NodeAgentOptions): Promise<NodeAgent> {
    const agent = new NodeAgent(options);
    const labels = { "topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": "de" };
    await options.plane.api.ask("POST", "/api/v1/nodes", { metadata: { name: nodeName, labels } });
    agent.#looping = agent.#loop();
    return agent;
  }

  get readyPods(): number {
    return [...this.#pods.values()].filter(({ isReady }) => isReady).length;
  }

  /** Addresses of the ready pods whose names begin so. */
  addressesOf(prefix: string): readonly string[] {
    return [...this.#pods].flatMap(([key, { address, isReady }]) =>
      isReady && key.startsWith(prefix) ? [address] : [],
    );
  }

  /** Pods whose names begin so, ready or not. */
  countOf(prefix: string): number {
    return [...this.#pods.keys()].filter((name) => name.startsWith(prefix)).length;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    await this.#looping;
    for (const { child } of this.#pods.values()) child.kill("SIGKILL");
  }

  async #loop(): Promise<void> {
    while (!this.#isClosed) {
      // While the API server is away everything runs on, as on a real node.
      await this.#round().catch(() => undefined);
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
  }

  async #round(): Promise<void> {
    const path = `/api/v1/namespaces/${this.#options.namespace}/pods`;
    const pods = (await this.#api.list(path)) as readonly PodObject[];
    const known = new Set(pods.map(({ metadata }) => metadata.name));
    for (const [name, pod] of this.#pods) if (!known.has(name)) pod.child.kill("SIGKILL");
    await Promise.all(pods.map((pod) => this.#reconcile(pod, `${path}/${pod.metadata.name}`)));
  }

  async #reconcile(pod: PodObject, path: string): Promise<void> {
    const { name, deletionTimestamp, deletionGracePeriodSeconds = 30 } = pod.metadata;
    const running = this.#pods.get(name);
    if (deletionTimestamp !== undefined) {
      if (running === undefined) await this.#delete(path);
      else if (!running.isEnding) this.#end(running, pod, path, deletionGracePeriodSeconds);
      return;
    }
    if (running === undefined) {
      if (/Succeeded|Failed/.test(pod.status?.phase ?? "")) return;
      await this.#begin(pod, path);
      return;
    }
    running.isReady = await this.#probe(pod, running);
    await this.#tell(pod, path, running);
  }

  async #begin(pod: PodObject, path: string): Promise<void> {
    const { name } = pod.metadata;
    const address = this.#free.shift();
    if (address === undefined) return;
    if (pod.spec.nodeName === undefined) {
      const target = { apiVersion: "v1", kind: "Node", name: nodeName };
      await this.#api.ask("POST", `${path}/binding`, { metadata: { name }, target });
    }
    const child = await this.#spawn(pod, address);
    this.#pods.set(name, { address, child, isReady: false, isEnding: false, restarts: 0, told: "" });
    this.#follow(pod, path);
  }

  /** Starts a process that ended again, or reports how it ended. */
  #follow(pod: PodObject, path: string): void {
    const { name } = pod.metadata;
    const running = this.#pods.get(name);
    if (running === undefined) return;
    running.child.once("exit", (code) => {
      if (running.isEnding || this.#isClosed) return;
      running.isReady = false;
      if (pod.spec.restartPolicy === "Never") {
        this.#forget(name);
        const phase = code === 0 ? "Succeeded" : "Failed";
        void this.#api.merge(`${path}/status`, { status: { phase } }).catch(() => undefined);
        return;
      }
      setTimeout(() => {
        if (this.#isClosed || running.isEnding) return;
        void this.#spawn(pod, running.address).then((child) => {
          running.child = child;
          running.restarts++;
          this.#follow(pod, path);
        });
      }, 1000);
    });
  }

  #end(running: RunningPod, pod: PodObject, path: string, graceSeconds: number): void {
    running.isEnding = true;
    const { child } = running;
    const { name } = pod.metadata;
    const sleepSeconds = pod.spec.containers[0]?.lifecycle?.preStop?.sleep?.seconds ?? 0;
    const over = async (): Promise<void> => {
      clearTimeout(late);
      await this.#delete(path);
      this.#forget(name);
    };
    const late = setTimeout(() => child.kill("SIGKILL"), graceSeconds * 1000);
    if (child.exitCode !== null || child.signalCode !== null) void over();
    else {
      child.once("exit", () => void over());
      setTimeout(() => child.kill("SIGTERM"), sleepSeconds * 1000);
    }
  }

  #forget(name: string): void {
    const pod = this.#pods.get(name);
    if (pod === undefined) return;
    this.#pods.delete(name);
    this.#free.push(pod.address);
  }

  async #delete(path: string): Promise<void> {
    await this.#api.ask("DELETE", path, { gracePeriodSeconds: 0 }).catch(() => undefined);
  }

  async #spawn(pod: PodObject, address: string): Promise<ChildProcess> {
    const { name } = pod.metadata;
    const folder = join(this.#options.folder, name);
    await mkdir(folder, { recursive: true });
    const [container] = pod.spec.containers;
    if (container === undefined) throw new Error(`${name} has no container`);
    const mounts = await this.#mounts(pod, folder);
    const placed = (container.args ?? []).map((one) => this.#placed(one, mounts, address));
    const own = container.command?.slice(1) ?? [command];
    const args = own.map((one) => this.#placed(one, mounts, address));
    const env: Record<string, string> = { LONGSHORE_HOST: address, TMPDIR: folder, HOME: folder };
    if (pod.spec.automountServiceAccountToken !== false) {
      const account = pod.spec.serviceAccountName ?? "default";
      env["KUBECONFIG"] = join(folder, "kubeconfig");
      await this.#options.plane.kubeconfigFor(await this.accountToken(account), env["KUBECONFIG"]);
    }
    const child = spawn(process.execPath, [...args, ...placed], {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const log = createWriteStream(join(folder, "log.txt"), { flags: "a" });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    return child;
  }

  /** A token of a service account, as a pod gets one. */
  async accountToken(account: string, audience?: string): Promise<string> {
    const path = `/api/v1/namespaces/${this.#options.namespace}/serviceaccounts/${account}/token`;
    const audiences = audience === undefined ? {} : { audiences: [audience] };
    const spec = { ...audiences, expirationSeconds: 3600 };
    const made = await this.#api.ask<{ readonly status: { readonly token: string } }>("POST", path, {
      spec,
    });
    return made.status.token;
  }

  /** Folders of this machine, by the path that the container sees. */
  async #mounts(pod: PodObject, folder: string): Promise<ReadonlyMap<string, string>> {
    const mounts = new Map<string, string>();
    for (const { name, mountPath } of pod.spec.containers[0]?.volumeMounts ?? []) {
      const volume = pod.spec.volumes?.find((one) => one.name === name);
      if (volume === undefined) continue;
      if (volume.persistentVolumeClaim !== undefined) {
        mounts.set(mountPath, this.#options.claim);
        continue;
      }
      const here = join(folder, name);
      await mkdir(here, { recursive: true });
      const { configMap, secret } = volume;
      const kind = configMap ? "configmaps" : "secrets";
      const source = configMap?.name ?? secret?.secretName;
      if (source !== undefined) {
        const path = `/api/v1/namespaces/${this.#options.namespace}/${kind}/${source}`;
        const { data = {} } = await this.#api.ask<{ readonly data?: Readonly<Record<string, string>> }>(
          "GET",
          path,
        );
        for (const [file, text] of Object.entries(data))
          await writeFile(join(here, file), configMap ? text : Buffer.from(text, "base64"));
      }
      mounts.set(mountPath, here);
    }
    return mounts;
  }

  /** An argument with the paths and the address of this machine. */
  #placed(argument: string, mounts: ReadonlyMap<string, string>, address: string): string {
    let text = argument.replace("0.0.0.0", address);
    const paths = [...mounts].map(([path, folder]) => ({ at: new RegExp(`(^|=)${path}(?=/|$)`), folder }));
    const mounted = paths.find(({ at }) => at.test(text));
    if (mounted !== undefined) text = text.replace(mounted.at, `$1${mounted.folder}`);
    return text;
  }

  async #probe(pod: PodObject, running: RunningPod): Promise<boolean> {
    const [container] = pod.spec.containers;
    const probe = container?.readinessProbe?.httpGet;
    if (probe === undefined) return true;
    const named = container?.ports?.find(({ name }) => name === probe.port)?.containerPort;
    const port = named ?? probe.port;
    try {
      const url = `http://${running.address}:${port}${probe.path}`;
      return (await fetch(url, { signal: AbortSignal.timeout(1000) })).ok;
    } catch {
      return false;
    }
  }

  async #tell(pod: PodObject, path: string, running: RunningPod): Promise<void> {
    const { address, isReady, restarts } = running;
    const told = `${isReady} ${restarts}`;
    if (told === running.told) return;
    const status = isReady ? "True" : "False";
    const now = new Date().toISOString();
    const conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"].map((type) => ({
      type,
      status: type.includes("eady") ? status : "True",
      lastTransitionTime: now,
    }));
    const containerStatuses = pod.spec.containers.map(({ name, image }) => ({
      name,
      image,
      imageID: image,
      ready: isReady,
      started: true,
      restartCount: restarts,
      state: { running: { startedAt: now } },
    }));
    await this.#api.merge(`${path}/status`, {
      status: {
        phase: "Running",
        podIP: address,
        podIPs: [{ ip: address }],
        hostIP: address,
        startTime: now,
        conditions,
        containerStatuses,
      },
    });
    running.told = told;
  }
}
