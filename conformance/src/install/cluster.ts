import { join } from "node:path";
import { goPrograms } from "./go.ts";

/*
 * The control plane of Kubernetes, without a kubelet, and what is installed beside it. All of it is built from its Go modules, which
 * takes minutes: only parts that are chosen by name need it.
 */

/** The programs of a control plane. */
export interface ControlPlane {
  readonly etcd: string;
  readonly apiServer: string;
  readonly controllerManager: string;
}

export async function controlPlane(): Promise<ControlPlane> {
  // Debian's etcd 3.4 answers watches of this API server with "Too large resource version".
  const store = await goPrograms({
    name: "etcd",
    module: "go.etcd.io/etcd/server/v3",
    version: "v3.6.16",
    packages: { etcd: "go.etcd.io/etcd/server/v3" },
  });
  const plane = await goPrograms({
    name: "kubernetes",
    module: "k8s.io/kubernetes",
    version: "v1.36.3",
    stagingVersion: "v0.36.3",
    // Else it reports version 0.0.0, which charts refuse.
    variables: {
      "k8s.io/component-base/version.gitVersion": "v1.36.3",
      "k8s.io/component-base/version.gitMajor": "1",
      "k8s.io/component-base/version.gitMinor": "36",
    },
    packages: {
      "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
      "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    },
  });
  return {
    etcd: join(store, "etcd"),
    apiServer: join(plane, "kube-apiserver"),
    controllerManager: join(plane, "kube-controller-manager"),
  };
}
