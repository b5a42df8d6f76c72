import { createSocket, type RemoteInfo, type Socket } from "node:dgram";
import { once } from "node:events";
import type { ApiObject, ClusterApi } from "./api.ts";

/** Some endpoints of a service. Those of a service that publishes addresses which are not ready count as ready there. */
interface Slice extends ApiObject {
  readonly endpoints?: readonly {
    readonly addresses: readonly string[];
    readonly conditions: { readonly ready?: boolean };
  }[];
  readonly ports?: readonly { readonly name?: string; readonly port?: number; readonly protocol?: string }[];
}

/** Types of records. */
const [typeA, typeSrv] = [1, 33];
const nameError = 3;

function encodedName(name: string): Buffer {
  const labels = name.split(".").filter((label) => label !== "");
  return Buffer.concat([
    ...labels.map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])),
    Buffer.from([0]),
  ]);
}

function questionOf(message: Buffer): { readonly name: string; readonly type: number; readonly end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = message[at] ?? 0; length > 0; length = message[at] ?? 0) {
    labels.push(message.toString("latin1", at + 1, at + 1 + length));
    at += 1 + length;
  }
  return { name: labels.join(".").toLowerCase(), type: message.readUInt16BE(at + 1), end: at + 5 };
}

function record(name: string, type: number, data: Buffer): Buffer {
  const head = Buffer.alloc(10);
  head.writeUInt16BE(type, 0);
  head.writeUInt16BE(1, 2);
  // Nothing may keep it: endpoints change.
  head.writeUInt32BE(0, 4);
  head.writeUInt16BE(data.length, 8);
  return Buffer.concat([encodedName(name), head, data]);
}

const bytesOf = (address: string): Buffer => Buffer.from(address.split(".").map(Number));

/** Stands in for the DNS of a cluster: addresses and SRV records of services, which are those of their ready endpoints. */
export class NameServer {
  readonly #api: ClusterApi;
  readonly #socket: Socket;

  private constructor(api: ClusterApi, socket: Socket) {
    this.#api = api;
    this.#socket = socket;
    socket.on("message", (message, sender) => void this.#answer(message, sender).catch(() => undefined));
  }

  static async start(api: ClusterApi, address: string): Promise<NameServer> {
    const socket = createSocket("udp4").bind(53, address);
    await once(socket, "listening");
    return new NameServer(api, socket);
  }

  close(): void {
    this.#socket.close();
  }

  async #answer(message: Buffer, { address, port }: RemoteInfo): Promise<void> {
    const { name, type, end } = questionOf(message);
    const records = await this.#recordsOf(name, type);
    const head = Buffer.alloc(12);
    message.copy(head, 0, 0, 2);
    // An authoritative answer, with the question.
    head.writeUInt16BE(0x8580 | (records === undefined ? nameError : 0), 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(records?.length ?? 0, 6);
    const reply = Buffer.concat([head, message.subarray(12, end), ...(records ?? [])]);
    this.#socket.send(reply, port, address);
  }

  /** Undefined for a name that is not there. */
  async #recordsOf(name: string, type: number): Promise<readonly Buffer[] | undefined> {
    const [, before = "", service, namespace] =
      /^(.*\.)?([a-z0-9-]+)\.([a-z0-9-]+)\.svc\.cluster\.local$/.exec(name) ?? [];
    if (service === undefined) return undefined;
    const path = `/apis/discovery.k8s.io/v1/namespaces/${namespace}/endpointslices`;
    const query = `?labelSelector=kubernetes.io/service-name=${service}`;
    const slices = (await this.#api.list(path + query)) as readonly Slice[];
    const found = slices.flatMap(({ endpoints = [], ports = [] }) =>
      endpoints
        .filter(({ conditions }) => conditions.ready === true)
        .flatMap(({ addresses }) => addresses.map((address) => ({ address, ports }))),
    );
    if (found.length === 0) return undefined;
    const root = `${service}.${namespace}.svc.cluster.local`;
    const hostOf = (address: string): string => `${address.replaceAll(".", "-")}.${root}`;
    const [, portName] = /^_([a-z0-9-]+)\._tcp\.$/.exec(before) ?? [];
    if (portName !== undefined) {
      if (type !== typeSrv) return [];
      return found.flatMap(({ address, ports }) =>
        ports
          .filter((one) => one.name === portName)
          .map(({ port = 0 }) => {
            const data = Buffer.alloc(6);
            data.writeUInt16BE(port, 4);
            return record(name, typeSrv, Buffer.concat([data, encodedName(hostOf(address))]));
          }),
      );
    }
    const its = before === "" ? found : found.filter(({ address }) => hostOf(address) === name);
    if (its.length === 0) return undefined;
    return type === typeA ? its.map(({ address }) => record(name, typeA, bytesOf(address))) : [];
  }
}
