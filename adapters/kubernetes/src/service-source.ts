import {
  type Clock,
  type DirectoryRecord,
  LongshoreError,
  type Random,
  type RecordSource,
} from "@longshore/core";
import type { KubernetesApi, KubernetesObject } from "./api.ts";
import { type Nodes, watchNodes } from "./nodes.ts";
import { endpointId, type EndpointTerms, hostOf, recordOf } from "./pods.ts";
import { isNamespace, isObjectName } from "./pool-source.ts";
import { reflect } from "./reflect.ts";

/** The label of services whose pods are endpoints. Its value is the protocol that they speak. */
export const serversLabel = "longshore.dev/servers";
const serviceLabel = "kubernetes.io/service-name";

/** Parameters of a source that reads services. */
export interface ServiceSourceOptions extends Omit<EndpointTerms, "scheme"> {
  readonly api: KubernetesApi;
  readonly namespace: string;
  /** One service. Default: all with the label `longshore.dev/servers`. */
  readonly service?: string;
  /** Name or number of the port. Default: the only one, else the one named `http` or `https`. */
  readonly port?: string;
  readonly clock: Clock;
  readonly random: Random;
}

/** Address of a pod behind a service. */
interface Listening {
  readonly id: string;
  readonly address: string;
  readonly node: string | undefined;
  readonly zone: string | undefined;
}

/** The facts of an EndpointSlice. */
interface Slice {
  readonly kind: string | undefined;
  readonly listening: readonly Listening[];
}

/** The fields of the resource that count here; every one may be missing or wrong. */
interface SliceObject extends KubernetesObject {
  readonly endpoints?: readonly {
    readonly addresses?: readonly unknown[];
    readonly conditions?: { readonly ready?: unknown; readonly terminating?: unknown };
    readonly targetRef?: { readonly name?: unknown };
    readonly nodeName?: unknown;
    readonly zone?: unknown;
  }[];
  readonly ports?: readonly {
    readonly name?: unknown;
    readonly port?: unknown;
    readonly appProtocol?: unknown;
  }[];
}

function portOf(
  ports: NonNullable<SliceObject["ports"]>,
  wanted: string | undefined,
): { readonly number: number; readonly scheme: string } | undefined {
  const fit = (names: readonly string[]) =>
    ports.find(({ name, port }) => names.includes(String(name)) || names.includes(String(port)));
  const found =
    wanted === undefined ? (ports.length === 1 ? ports[0] : fit(["http", "https"])) : fit([wanted]);
  const { name, port, appProtocol } = found ?? {};
  if (typeof port !== "number" || !Number.isInteger(port) || port < 1 || port > 65_535) return undefined;
  const encrypted = name === "https" || appProtocol === "https";
  return { number: port, scheme: encrypted ? "https" : "http" };
}

function sliceOf(object: KubernetesObject, { port: wanted, kind }: ServiceSourceOptions): Slice {
  // Fields are checked one by one below.
  const { endpoints, ports, metadata } = object as SliceObject;
  const labels = metadata?.labels ?? {};
  const port = portOf(Array.isArray(ports) ? ports : [], wanted);
  const service = labels[serviceLabel] ?? metadata?.name ?? "";
  const listening = (port && Array.isArray(endpoints) ? endpoints : []).flatMap((one): Listening[] => {
    const host = hostOf(Array.isArray(one?.addresses) ? one.addresses[0] : undefined);
    // A missing condition means ready.
    if (!port || host === undefined || one.conditions?.ready === false) return [];
    const name = typeof one.targetRef?.name === "string" ? one.targetRef.name : `${service}-${host}`;
    return [
      {
        id: endpointId(name.replace(/[[\]]/g, ""), port.number),
        address: `${port.scheme}://${host}:${port.number}`,
        node: typeof one.nodeName === "string" ? one.nodeName : undefined,
        zone:
          typeof one.zone === "string" && /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,62}$/.test(one.zone)
            ? one.zone
            : undefined,
      },
    ];
  });
  return { kind: kind ?? (labels[serversLabel] || undefined), listening };
}

function recordsOf(slices: Iterable<Slice>, nodes: Nodes, terms: ServiceSourceOptions): DirectoryRecord[] {
  const records = new Map<string, DirectoryRecord>();
  for (const { kind, listening } of slices) {
    for (const { id, address, node, zone } of listening) {
      const placement = nodes.of(node);
      const { kind: _kind, ...rest } = terms;
      records.set(
        id,
        recordOf(
          id,
          address,
          placement?.zone ?? zone,
          undefined,
          kind === undefined ? rest : { ...rest, kind },
        ),
      );
    }
  }
  return [...records.values()];
}

/**
 * The ready addresses behind services of a namespace as a directory, read from EndpointSlices: of one service, or of all that carry the
 * label `longshore.dev/servers` with a kind of endpoint, such as `longshore` or `oip`, as its value. Throws `invalid-configuration` for names that
 * Kubernetes does not allow.
 */
export function serviceSource(options: ServiceSourceOptions): RecordSource {
  const { api, namespace, service, clock, random } = options;
  if (!isNamespace(namespace) || (service !== undefined && !isObjectName(service))) {
    const text = `the directory kubernetes:NAMESPACE[/SERVICE] has no such namespace or service name: '${`${namespace}/${service ?? ""}`.slice(0, 80)}'`;
    throw new LongshoreError("invalid-configuration", "resolve", text);
  }
  return {
    name: `kubernetes ${namespace}${service === undefined ? "" : `/${service}`}`,
    follow(sink) {
      let slices: Map<string, Slice> | undefined;
      const tell = (): void => {
        if (slices && nodes.settled) sink.all(recordsOf(slices.values(), nodes, options));
      };
      const nodes = watchNodes(api, { clock, random }, tell);
      const watching = reflect<Slice>({
        api,
        clock,
        random,
        path: `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`,
        query: { labelSelector: service === undefined ? serversLabel : `${serviceLabel}=${service}` },
        project: (object) => sliceOf(object, options),
        sink: {
          all(found) {
            slices = new Map(found);
            tell();
          },
          put(key, slice) {
            slices?.set(key, slice);
            tell();
          },
          drop(key) {
            slices?.delete(key);
            tell();
          },
          confirmed: () => sink.confirmed(),
          failed: (error) => sink.failed(error),
        },
      });
      return {
        async [Symbol.asyncDispose]() {
          await Promise.all([watching[Symbol.asyncDispose](), nodes[Symbol.asyncDispose]()]);
        },
      };
    },
  };
}
