import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createTlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";

/** An object of the API. */
export interface KubernetesTestObject {
  readonly metadata?: {
    readonly name?: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
    readonly resourceVersion?: string;
    readonly deletionTimestamp?: string;
  };
  readonly [field: string]: unknown;
}

/** A small API server of the tests: lists in pages, watches with bookmarks, forgets, denies and goes away. */
export interface FakeApiServer {
  readonly url: URL;
  /** Creates or replaces an object of a collection such as `/api/v1/namespaces/shop/pods`. */
  put(path: string, object: KubernetesTestObject): void;
  remove(path: string, name: string): void;
  /** Sends an event to every watch of a collection, without a change. */
  event(path: string, type: string, object: object): void;
  /** Sends this text as it is. */
  raw(path: string, text: string): void;
  /** Answers requests for a collection with this status; undefined ends that. */
  refuse(path: string, status: number | undefined): void;
  /** Drops the history: a watch or a next page from an older version gets 410. */
  forget(): void;
  /** Ends all connections and listens no more. */
  stop(): Promise<void>;
  /** Listens again on the same port, with the same objects. */
  start(): Promise<void>;
  /** Requested paths with queries, in order. */
  readonly requests: readonly string[];
  /** The `authorization` header of the last request. */
  readonly shown: string | undefined;
  /** Watches that are open. */
  readonly watches: number;
  close(): Promise<void>;
}

interface Change {
  readonly version: number;
  readonly path: string;
  readonly type: string;
  readonly object: KubernetesTestObject;
}

interface Watch {
  readonly path: string;
  readonly selects: (object: KubernetesTestObject) => boolean;
  readonly reply: ServerResponse;
}

function selectorOf(query: URLSearchParams): (object: KubernetesTestObject) => boolean {
  const labels = (query.get("labelSelector") ?? "").split(",").filter((one) => one !== "");
  const [, name] = /^metadata\.name=(.+)$/.exec(query.get("fieldSelector") ?? "") ?? [];
  return ({ metadata }) =>
    (name === undefined || metadata?.name === name) &&
    labels.every((one) => {
      const [key = "", value] = one.split("=");
      const found = metadata?.labels?.[key];
      return value === undefined ? found !== undefined : found === value;
    });
}

/** Starts one on a free port of loopback. */
export async function fakeApiServer(tls?: {
  readonly cert: string;
  readonly key: string;
}): Promise<FakeApiServer> {
  const collections = new Map<string, Map<string, KubernetesTestObject>>();
  const history: Change[] = [];
  const watches = new Set<Watch>();
  const refusals = new Map<string, number>();
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  let version = 1;
  let oldest = 0;
  let port = 0;
  let shown: string | undefined;
  let server: Server | undefined;

  const status = (reply: ServerResponse, code: number, message: string): void => {
    reply.writeHead(code, { "content-type": "application/json" });
    reply.end(JSON.stringify({ kind: "Status", code, message }));
  };
  const line = (type: string, object: object): string => `${JSON.stringify({ type, object })}\n`;

  function list(path: string, query: URLSearchParams, reply: ServerResponse): void {
    const limit = Number(query.get("limit") ?? Infinity);
    const [began, after = 0] = (query.get("continue") ?? `${version}.0`).split(".").map(Number);
    if ((began ?? 0) < oldest) return status(reply, 410, "The provided continue parameter is too old");
    const all = [...(collections.get(path)?.values() ?? [])].filter(selectorOf(query));
    const items = all.slice(after, after + limit);
    const left = all.length - after - items.length;
    const more = left > 0 ? { continue: `${began}.${after + items.length}` } : {};
    reply.setHeader("content-type", "application/json");
    reply.end(JSON.stringify({ metadata: { resourceVersion: `${began}`, ...more }, items }));
  }

  function watch(path: string, query: URLSearchParams, reply: ServerResponse): void {
    const from = Number(query.get("resourceVersion"));
    reply.writeHead(200, { "content-type": "application/json" });
    if (from < oldest) {
      // As a real one does: the status of the reply is 200, and the error is an event.
      reply.end(line("ERROR", { kind: "Status", code: 410, message: `too old resource version: ${from}` }));
      return;
    }
    const selects = selectorOf(query);
    for (const one of history) {
      if (one.path === path && one.version > from && selects(one.object))
        reply.write(line(one.type, one.object));
    }
    reply.flushHeaders();
    const open = { path, selects, reply };
    watches.add(open);
    reply.on("close", () => watches.delete(open));
  }

  function answer(request: IncomingMessage, reply: ServerResponse): void {
    const { pathname, searchParams } = new URL(request.url ?? "/", "http://localhost");
    requests.push(request.url ?? "");
    shown = request.headers.authorization;
    const refusal = refusals.get(pathname);
    if (refusal !== undefined) return status(reply, refusal, "forbidden: User cannot list resource");
    if (searchParams.get("watch") === "1") watch(pathname, searchParams, reply);
    else list(pathname, searchParams, reply);
  }

  function changed(path: string, type: string, object: KubernetesTestObject): void {
    history.push({ version, path, type, object });
    for (const one of watches)
      if (one.path === path && one.selects(object)) one.reply.write(line(type, object));
  }

  async function start(): Promise<void> {
    const made = tls ? createTlsServer(tls, answer) : createServer(answer);
    made.on(tls ? "secureConnection" : "connection", (socket: Socket) => {
      sockets.add(socket);
      socket.on("close", () => sockets.delete(socket));
    });
    await new Promise<void>((resolve, reject) => {
      made.once("error", reject);
      made.listen(port, "127.0.0.1", resolve);
    });
    ({ port } = made.address() as AddressInfo);
    server = made;
  }

  async function stop(): Promise<void> {
    const made = server;
    server = undefined;
    for (const socket of sockets) socket.destroy();
    await new Promise<void>((resolve) => (made ? made.close(() => resolve()) : resolve()));
  }

  await start();
  return {
    url: new URL(`${tls ? "https" : "http"}://127.0.0.1:${port}`),
    put(path, object) {
      const of = collections.get(path) ?? new Map<string, KubernetesTestObject>();
      collections.set(path, of);
      const name = object.metadata?.name ?? "";
      const type = of.has(name) ? "MODIFIED" : "ADDED";
      version++;
      const stored = { ...object, metadata: { ...object.metadata, resourceVersion: `${version}` } };
      of.set(name, stored);
      changed(path, type, stored);
    },
    remove(path, name) {
      const object = collections.get(path)?.get(name);
      if (!object) return;
      collections.get(path)?.delete(name);
      version++;
      changed(path, "DELETED", {
        ...object,
        metadata: { ...object.metadata, resourceVersion: `${version}` },
      });
    },
    event(path, type, object) {
      for (const one of watches) if (one.path === path) one.reply.write(line(type, object));
    },
    raw(path, text) {
      for (const one of watches) if (one.path === path) one.reply.write(text);
    },
    refuse(path, code) {
      if (code === undefined) refusals.delete(path);
      else refusals.set(path, code);
    },
    forget() {
      version++;
      oldest = version;
      history.length = 0;
      for (const one of watches) one.reply.end();
    },
    stop,
    start,
    requests,
    get shown() {
      return shown;
    },
    get watches() {
      return watches.size;
    },
    close: stop,
  };
}

/** A pod as the API server has it. */
export function testPod(
  name: string,
  ip: string | undefined,
  more: {
    readonly labels?: Readonly<Record<string, string>>;
    readonly ready?: boolean;
    readonly node?: string;
    readonly deleting?: boolean;
    readonly limits?: Readonly<Record<string, string>>;
    readonly padding?: string;
  } = {},
): KubernetesTestObject {
  const { labels = { app: "ocr" }, ready = true, node, deleting, limits, padding } = more;
  return {
    metadata: {
      name,
      namespace: "shop",
      labels,
      ...(deleting === true ? { deletionTimestamp: "2026-12-01T00:00:00Z" } : {}),
      ...(padding === undefined ? {} : { annotations: { padding } }),
    },
    spec: {
      ...(node === undefined ? {} : { nodeName: node }),
      containers: [{ name: "serve", resources: { limits } }],
    },
    status: {
      phase: "Running",
      ...(ip === undefined ? {} : { podIP: ip }),
      conditions: [{ type: "Ready", status: ready ? "True" : "False" }],
    },
  };
}

/** An InferencePool as the API server has it. */
export function testPool(
  name: string,
  matchLabels: Readonly<Record<string, string>>,
  ports: readonly number[] = [8000],
): KubernetesTestObject {
  return {
    metadata: { name, namespace: "shop" },
    spec: { selector: { matchLabels }, targetPorts: ports.map((number) => ({ number })) },
  };
}

/** Paths of the collections that an InferencePool in the namespace `shop` leads to. */
export const testPaths = {
  pools: "/apis/inference.networking.k8s.io/v1/namespaces/shop/inferencepools",
  pods: "/api/v1/namespaces/shop/pods",
  nodes: "/api/v1/nodes",
  slices: "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices",
} as const;

/** A kubeconfig of that server. */
export function kubeconfigOf(url: URL, authority?: string, token?: string): string {
  const ca =
    authority === undefined
      ? {}
      : { "certificate-authority-data": Buffer.from(authority).toString("base64") };
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    clusters: [{ name: "test", cluster: { server: url.href, ...ca } }],
    users: [{ name: "test", user: token === undefined ? {} : { token } }],
    contexts: [{ name: "test", context: { cluster: "test", user: "test" } }],
    "current-context": "test",
  });
}
