import type { Accelerator, DirectoryEntry, DirectoryRecord, TrustLevel } from "@longshore/core";
import type { KubernetesObject } from "./api.ts";
import { acceleratorOf, devicesOf, type LabelFacts, placementOf } from "./placement.ts";

/** The facts of a pod that can serve; undefined for one that cannot. */
export interface PodFacts {
  readonly name: string;
  readonly host: string;
  readonly node: string | undefined;
  readonly own: LabelFacts;
  readonly devices: { readonly kind: string; readonly count: number } | undefined;
}

/** Properties that all endpoints of a source share. */
export interface EndpointTerms {
  /** Protocol of the servers. Default `longshore`. */
  readonly kind?: string;
  readonly trust: TrustLevel;
  /** Zone that contains all of them, which their own zones are appended to. Default: none. */
  readonly within?: string;
  /** Least prices of each. Default: unknown, which no limit on cost allows. */
  readonly rates?: NonNullable<DirectoryEntry["rates"]>;
  readonly scheme?: "http" | "https";
}

/** The API has more fields than these; every one of them may be missing or wrong. */
interface PodObject extends KubernetesObject {
  readonly spec?: {
    readonly nodeName?: unknown;
    readonly containers?: readonly { readonly resources?: { readonly limits?: unknown } }[];
  };
  readonly status?: {
    readonly podIP?: unknown;
    readonly phase?: unknown;
    readonly conditions?: readonly { readonly type?: unknown; readonly status?: unknown }[];
  };
}

const addressShape = /^[0-9.]{7,15}$|^[0-9a-fA-F:.]{2,45}$/;
const nameShape = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

/** An IP address as it stands in a URL; undefined for a text that is none. */
export function hostOf(address: unknown): string | undefined {
  if (typeof address !== "string" || !addressShape.test(address)) return undefined;
  return address.includes(":") ? `[${address}]` : address;
}

/** Whether a pod counts: it has an address, is ready, and is not about to end. Undefined where it does not. */
export function podFacts(object: KubernetesObject): PodFacts | undefined {
  // Fields are checked one by one below.
  const { metadata, spec, status } = object as PodObject;
  const { name, deletionTimestamp } = metadata ?? {};
  const host = hostOf(status?.podIP);
  const { conditions, phase } = status ?? {};
  const ready =
    Array.isArray(conditions) && conditions.some((one) => one?.type === "Ready" && one.status === "True");
  if (name === undefined || !nameShape.test(name) || deletionTimestamp !== undefined) return undefined;
  if (host === undefined || !ready || phase === "Failed" || phase === "Succeeded") return undefined;
  const containers = Array.isArray(spec?.containers) ? spec.containers : [];
  return {
    name,
    host,
    node: typeof spec?.nodeName === "string" ? spec.nodeName : undefined,
    own: placementOf(object),
    devices: devicesOf(containers.map((one) => one?.resources?.limits)),
  };
}

/** Entries hold forever: the API server says when one is gone. */
const endOfTimeMs = 253_402_300_799_999;

/** The endpoint's zone: the region and zone of its node inside the zone that contains all, or that zone alone. */
export function joinedZone(within: string | undefined, zone: string | undefined): string {
  return [within, zone].filter((one) => one !== undefined).join("/") || "unknown";
}

/** A record of one endpoint. */
export function recordOf(
  id: string,
  address: string,
  zone: string | undefined,
  accelerator: Accelerator | undefined,
  { kind, trust, within, rates }: EndpointTerms,
): DirectoryRecord {
  return {
    signed: {
      body: {
        schemaVersion: 1,
        id,
        serial: 1,
        notBeforeMs: 0,
        notAfterMs: endOfTimeMs,
        tier: "edge",
        zone: joinedZone(within, zone),
        trust,
        address,
        ...(kind === undefined ? {} : { kind }),
        ...(accelerator ? { accelerator } : {}),
        ...(rates ? { rates } : {}),
      },
    },
  };
}

/** IDs of endpoints have at most 128 characters; names of pods may be longer, and end in what tells them apart. */
export function endpointId(name: string, port: number | undefined): string {
  const end = port === undefined ? "" : `:${port}`;
  const most = 128 - end.length;
  return (name.length <= most ? name : `~${name.slice(name.length - most + 1)}`) + end;
}

/** The records of a pod: one for each port of the pool. */
export function podRecords(
  pod: PodFacts,
  ports: readonly number[],
  node: LabelFacts | undefined,
  terms: EndpointTerms,
): readonly DirectoryRecord[] {
  const zone = node?.zone ?? pod.own.zone;
  const accelerator = acceleratorOf(pod.devices, node, pod.own);
  const { scheme = "http" } = terms;
  return ports.map((port) => {
    const id = endpointId(pod.name, ports.length === 1 ? undefined : port);
    return recordOf(id, `${scheme}://${pod.host}:${port}`, zone, accelerator, terms);
  });
}
