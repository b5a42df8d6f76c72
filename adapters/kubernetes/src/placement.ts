import type { Accelerator } from "@longshore/core";
import type { KubernetesObject } from "./api.ts";

/** Labels of a node, or of a pod, that say where it is and what it computes with. */
type Labels = Readonly<Record<string, string>>;

/** The facts that labels of a node or pod state. */
export interface LabelFacts {
  /** `region/zone`; undefined if the labels name neither. */
  readonly zone: string | undefined;
  readonly accelerator: Accelerator | undefined;
}

/** Labels of nodes with the product name of their accelerator, the most exact first. */
const productLabels: readonly string[] = [
  "nvidia.com/gpu.product",
  "amd.com/gpu.product-name",
  "cloud.google.com/gke-accelerator",
  "karpenter.k8s.aws/instance-gpu-name",
  "cloud.google.com/gke-tpu-accelerator",
];
const memoryLabel = "nvidia.com/gpu.memory";

/** Resources of containers, and the kind of accelerator that each is. */
const resourceKinds: readonly (readonly [string, string])[] = [
  ["nvidia.com/", "cuda"],
  ["amd.com/gpu", "rocm"],
  ["gpu.intel.com/", "openvino"],
  ["google.com/tpu", "tpu"],
  ["aws.amazon.com/neuron", "neuron"],
];

function kindOf(name: string): string | undefined {
  return resourceKinds.find(([prefix]) => name.startsWith(prefix))?.[1];
}

const zonePart = /^[A-Za-z0-9_-][A-Za-z0-9._-]*$/;

/** The zone that labels name: `topology.kubernetes.io/region`, then `topology.kubernetes.io/zone`. */
function zoneOf(labels: Labels): string | undefined {
  const parts = ["region", "zone"].flatMap((one) => labels[`topology.kubernetes.io/${one}`] ?? []);
  const fit = parts.filter((one) => one.length <= 63 && zonePart.test(one));
  return fit.length === 0 ? undefined : fit.join("/");
}

/** Reads labels of a node or a pod. */
export function placementOf({ metadata }: KubernetesObject): LabelFacts {
  const labels = metadata?.labels ?? {};
  const product = productLabels.map((name) => labels[name]).find((name) => name !== undefined && name !== "");
  const memory = labels[memoryLabel];
  const accelerator: Accelerator | undefined =
    product === undefined
      ? undefined
      : {
          kind: "unknown",
          name: product.slice(0, 63),
          // The label counts in MiB.
          ...(memory !== undefined && /^[0-9]{1,9}$/.test(memory)
            ? { memoryBytes: Number(memory) * 2 ** 20 }
            : {}),
        };
  return { zone: zoneOf(labels), accelerator };
}

/** The devices that the containers of a pod have been given: kind and count. */
export function devicesOf(limits: readonly unknown[]): { kind: string; count: number } | undefined {
  let found: { kind: string; count: number } | undefined;
  for (const one of limits) {
    if (typeof one !== "object" || one === null) continue;
    for (const [name, amount] of Object.entries(one)) {
      const kind = kindOf(name);
      const count = Number(amount);
      if (kind === undefined || !Number.isInteger(count) || count < 1 || count > 65_536) continue;
      found = { kind, count: count + (found?.kind === kind ? found.count : 0) };
    }
  }
  return found;
}

/**
 * The accelerator of a pod: the devices that it was given, with the name that its node's labels state. A pod without devices computes on
 * the processor, whatever its node has.
 */
export function acceleratorOf(
  devices: { readonly kind: string; readonly count: number } | undefined,
  node: LabelFacts | undefined,
  own: LabelFacts,
): Accelerator | undefined {
  if (!devices) return undefined;
  const named = node?.accelerator ?? own.accelerator;
  return { ...named, ...devices };
}
