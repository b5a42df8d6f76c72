import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { join } from "node:path";
import { KubeConfig } from "@kubernetes/client-node";
import { LongshoreError } from "@longshore/core";
import { type KubernetesApi, kubernetesApi } from "./api.ts";

/** Credentials of the cluster that this process runs in. */
const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount";

/** Where the API server is and which credentials it gets. */
export interface ClusterOptions {
  /**
   * A kubeconfig file. Default: the file in the environment variable KUBECONFIG, else the service account of the pod, else
   * `~/.kube/config`.
   */
  readonly kubeconfig?: string;
  /** The context in that file. Default: its current one. */
  readonly context?: string;
  /** Default: those of the process. */
  readonly environment?: Readonly<Record<string, string | undefined>>;
}

function refused(why: string, cause?: unknown): LongshoreError {
  return new LongshoreError("invalid-configuration", "resolve", why, cause === undefined ? {} : { cause });
}

function loaded({ kubeconfig, environment = process.env }: ClusterOptions): KubeConfig {
  const config = new KubeConfig();
  const [listed] = (environment["KUBECONFIG"] ?? "").split(":").filter((one) => one !== "");
  const named = kubeconfig ?? listed;
  const own = join(homedir(), ".kube", "config");
  const inCluster =
    environment["KUBERNETES_SERVICE_HOST"] !== undefined && existsSync(join(accountFolder, "token"));
  if (named === undefined && inCluster) {
    config.loadFromCluster();
    return config;
  }
  const file = named ?? (existsSync(own) ? own : undefined);
  if (file === undefined) {
    throw refused(
      "no Kubernetes cluster is known here: run in a pod with a service account, set KUBECONFIG, or write ~/.kube/config",
    );
  }
  try {
    config.loadFromFile(file);
  } catch (cause) {
    throw refused("the kubeconfig file cannot be read: check KUBECONFIG and ~/.kube/config", cause);
  }
  return config;
}

/** Reads the configuration of the cluster. Throws `invalid-configuration` if there is none or it names no API server. */
export function connectKubernetes(options: ClusterOptions = {}): KubernetesApi {
  const config = loaded(options);
  if (options.context !== undefined) config.setCurrentContext(options.context);
  const server = config.getCurrentCluster()?.server;
  if (server === undefined || !URL.canParse(server)) {
    throw refused("the kubeconfig names no API server for its current context");
  }
  const url = new URL(server);
  if (url.protocol === "http:") {
    if (!/^(localhost|127(\.\d+){3}|\[::1\])$/.test(url.hostname)) {
      throw refused("the API server is at an http address of another machine, which would show it the token");
    }
    // The client refuses http unless it is told that there is no certificate to verify.
    config.clusters = config.clusters.map((one) => ({ ...one, skipTLSVerify: true }));
  } else if (url.protocol !== "https:") {
    throw refused("the address of the API server must start with https://");
  }
  return kubernetesApi(url, (request) => config.applyToHTTPSOptions(request));
}
