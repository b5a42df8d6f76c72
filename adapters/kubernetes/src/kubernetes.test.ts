import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, expect, it, vi } from "vitest";
import { createDirectory, type KeptDirectory, seededRandom, silentObserver } from "@longshore/core";
import { systemClock } from "@longshore/nodejs";
import { testAuthority } from "@longshore/testkit/certificates";
import {
  fakeApiServer,
  type FakeApiServer,
  kubeconfigOf,
  testPaths,
  testPod,
  testPool,
} from "@longshore/testkit/kubernetes-api";
import { connectKubernetes } from "./connect.ts";
import { poolSource, type PoolSourceOptions, type KubernetesPoolState } from "./pool-source.ts";
import { serviceSource, type ServiceSourceOptions } from "./service-source.ts";

const { pools, pods, nodes, slices } = testPaths;
let folder: string;
const open: (() => PromiseLike<unknown>)[] = [];
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-kubernetes-"));
});
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close();
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const clock = systemClock();
let configs = 0;

async function cluster(...tls: Parameters<typeof fakeApiServer>): Promise<FakeApiServer> {
  const server = await fakeApiServer(...tls);
  open.push(() => server.close());
  return server;
}

async function connected(server: FakeApiServer, authority?: string, token?: string) {
  const kubeconfig = join(folder, `config-${configs++}`);
  await writeFile(kubeconfig, kubeconfigOf(server.url, authority, token));
  return connectKubernetes({ kubeconfig });
}

function kept(source: Parameters<typeof createDirectory>[0]["source"]): KeptDirectory {
  const directory = createDirectory({
    source,
    clock,
    observer: silentObserver,
    codecs: ["raw"],
    unsignedTrust: "vouched",
  });
  open.push(() => directory[Symbol.asyncDispose]());
  return directory;
}

/** A directory of the pool `ocr`, with its last state. */
async function watched(server: FakeApiServer, more: Partial<PoolSourceOptions> = {}) {
  const told: { state?: KubernetesPoolState } = {};
  const source = poolSource({
    api: await connected(server),
    namespace: "shop",
    name: "ocr",
    trust: "operated",
    clock,
    random: seededRandom(1),
    onState: (state) => (told.state = state),
    ...more,
  });
  const directory = kept(source);
  return { directory, told };
}

const ids = (directory: KeptDirectory): readonly string[] =>
  directory
    .snapshot()
    .entries.map(({ id }) => id)
    .toSorted();

async function becomes(directory: KeptDirectory, wanted: readonly string[]): Promise<void> {
  await vi.waitFor(() => expect(ids(directory)).toEqual(wanted), 60_000);
}

it("lists the ready pods of a pool with zone and accelerator, and follows each change", async () => {
  const server = await cluster();
  server.put(pools, testPool("ocr", { app: "ocr" }));
  server.put(pools, testPool("other", { app: "other" }));
  const labels = {
    "topology.kubernetes.io/region": "europe-west4",
    "topology.kubernetes.io/zone": "europe-west4-a",
  };
  server.put(nodes, {
    metadata: {
      name: "n1",
      labels: { ...labels, "nvidia.com/gpu.product": "NVIDIA-L4", "nvidia.com/gpu.memory": "23034" },
    },
  });
  server.put(pods, testPod("a", "10.0.0.1", { node: "n1", limits: { "nvidia.com/gpu": "2" } }));
  server.put(
    pods,
    testPod("b", "fd00::2", {
      node: "n1",
      labels: { app: "ocr", "topology.kubernetes.io/zone": "elsewhere" },
    }),
  );
  server.put(pods, testPod("c", undefined));
  server.put(pods, testPod("d", "10.0.0.4", { ready: false }));
  server.put(pods, testPod("e", "10.0.0.5", { deleting: true }));
  server.put(pods, testPod("f", "10.0.0.6", { labels: { app: "other" } }));
  const { directory, told } = await watched(server, { within: "eu", rates: { microsPerSecond: 7 } });
  await directory.ready;
  expect(directory.snapshot().entries).toMatchObject([
    {
      id: "a",
      rates: { microsPerSecond: 7 },
      address: "http://10.0.0.1:8000",
      zone: "eu/europe-west4/europe-west4-a",
      trust: "operated",
      accelerator: { kind: "cuda", name: "NVIDIA-L4", count: 2, memoryBytes: 23_034 * 2 ** 20 },
    },
    { id: "b", address: "http://[fd00::2]:8000", zone: "eu/europe-west4/europe-west4-a" },
  ]);
  expect(directory.snapshot().entries[1]?.accelerator).toBeUndefined();
  expect(told.state).toMatchObject({ exists: true, ready: 2, unready: 3 });
  server.put(pods, testPod("c", "10.0.0.3"));
  server.put(pods, testPod("d", "10.0.0.4"));
  await becomes(directory, ["a", "b", "c", "d"]);
  // Outside of the known nodes a pod has the zone that contains all.
  expect(directory.snapshot().entries.find(({ id }) => id === "c")?.zone).toBe("eu");
  server.put(pods, testPod("a", "10.0.0.1", { ready: false }));
  server.remove(pods, "b");
  server.put(pods, testPod("c", "10.0.0.33"));
  await becomes(directory, ["c", "d"]);
  await vi.waitFor(
    () =>
      expect(directory.snapshot().entries.find(({ id }) => id === "c")?.address).toBe(
        "http://10.0.0.33:8000",
      ),
    60_000,
  );
  // The pool changes its ports, its selector, and goes.
  server.put(pools, testPool("ocr", { app: "ocr" }, [8000, 8001]));
  await becomes(directory, ["c:8000", "c:8001", "d:8000", "d:8001"]);
  server.put(pools, testPool("ocr", { app: "other" }));
  await becomes(directory, ["f"]);
  server.remove(pools, "ocr");
  await becomes(directory, []);
  await vi.waitFor(() => expect(told.state?.problem).toBe("InferencePool shop/ocr does not exist"), 60_000);
});

it("says why a pool has no endpoint", async () => {
  const server = await cluster();
  const { directory, told } = await watched(server);
  await directory.ready;
  expect(directory.snapshot().entries).toEqual([]);
  const problem = (text: string) => vi.waitFor(() => expect(told.state?.problem).toContain(text), 60_000);
  await problem("does not exist");
  server.put(pools, testPool("ocr", {}));
  await problem("has an empty selector, which selects no pod");
  server.put(pods, testPod("a", undefined));
  server.put(pools, testPool("ocr", { app: "none" }));
  await problem("selects no pod: none has the labels app=none");
  server.put(pools, testPool("ocr", { app: "ocr" }, []));
  await problem("has no target port");
  server.put(pools, testPool("ocr", { app: "ocr" }));
  await problem("none of the 1 pods of InferencePool shop/ocr is ready and has an address");
  expect(directory.snapshot().entries).toEqual([]);
  server.put(pods, testPod("a", "10.0.0.1"));
  await becomes(directory, ["a"]);
  await vi.waitFor(() => expect(told.state?.problem).toBeUndefined(), 60_000);
});

it("lists again after ERROR events and 410, and takes neither for an object", async () => {
  const server = await cluster();
  server.put(pools, testPool("ocr", { app: "ocr" }));
  for (let at = 0; at < 5; at++) server.put(pods, testPod(`p${at}`, `10.0.0.${at + 1}`));
  const { directory } = await watched(server);
  await becomes(directory, ["p0", "p1", "p2", "p3", "p4"]);
  await vi.waitFor(() => expect(server.watches).toBe(3), 60_000);
  for (const code of [410, 500]) {
    const before = server.requests.length;
    server.event(pods, "ERROR", { kind: "Status", code, message: "too old" });
    await vi.waitFor(
      () =>
        expect(
          server.requests.slice(before).some((one) => one.includes("/pods?") && !one.includes("watch=1")),
        ).toBe(true),
      60_000,
    );
    await becomes(directory, ["p0", "p1", "p2", "p3", "p4"]);
    // The next event is for the new watch.
    await vi.waitFor(
      () =>
        expect(
          server.requests.slice(before).some((one) => one.includes("/pods?") && one.includes("watch=1")),
        ).toBe(true),
      60_000,
    );
    await vi.waitFor(() => expect(server.watches).toBe(3), 60_000);
  }
  // The server forgets while it is away: what happened meanwhile is in the new list.
  await vi.waitFor(() => expect(server.watches).toBe(3), 60_000);
  await server.stop();
  await vi.waitFor(() => expect(directory.snapshot().problem).toContain("cannot be reached"), 60_000);
  expect(ids(directory)).toHaveLength(5);
  server.remove(pods, "p0");
  server.put(pods, testPod("p9", "10.0.0.9"));
  server.forget();
  await server.start();
  await becomes(directory, ["p1", "p2", "p3", "p4", "p9"]);
  await vi.waitFor(() => expect(directory.snapshot().problem).toBeUndefined(), 60_000);
});

it("keeps its endpoints while the API denies or sends what is no watch, and says so", async () => {
  const server = await cluster();
  server.put(pools, testPool("ocr", { app: "ocr" }));
  server.put(pods, testPod("a", "10.0.0.1"));
  const { directory, told } = await watched(server);
  await becomes(directory, ["a"]);
  await vi.waitFor(() => expect(server.watches).toBe(3), 60_000);
  server.refuse(pods, 403);
  server.raw(pods, "{ this is no JSON\n");
  await vi.waitFor(() => expect(directory.snapshot().problem).toContain("answered 403"), 60_000);
  expect(told.state?.problem).toContain("grant get, list and watch");
  expect(ids(directory)).toEqual(["a"]);
  server.put(pods, testPod("b", "10.0.0.2"));
  server.refuse(pods, undefined);
  await becomes(directory, ["a", "b"]);
});

it("takes the zones of the pods' own labels where nodes may not be read", async () => {
  const server = await cluster();
  server.refuse(nodes, 403);
  server.put(pools, testPool("ocr", { app: "ocr" }));
  server.put(
    pods,
    testPod("a", "10.0.0.1", { node: "n1", labels: { app: "ocr", "topology.kubernetes.io/zone": "z1" } }),
  );
  const { directory } = await watched(server);
  await directory.ready;
  expect(directory.snapshot().entries).toMatchObject([{ id: "a", zone: "z1" }]);
});

it("reads long lists in pages", async () => {
  const server = await cluster();
  server.put(pools, testPool("ocr", { app: "ocr" }));
  for (let at = 0; at < 1200; at++) server.put(pods, testPod(`p${at}`, `10.0.${at >> 8}.${at & 255}`));
  const { directory } = await watched(server);
  await directory.ready;
  expect(directory.snapshot().entries).toHaveLength(1200);
  expect(server.requests.filter((one) => one.includes("/pods?") && one.includes("limit=500"))).toHaveLength(
    3,
  );
});

it("speaks TLS with the authority and the token of the kubeconfig", async () => {
  const authority = await testAuthority();
  const { certificatePem, keyPem } = await authority.issue({
    name: "api",
    addresses: ["127.0.0.1"],
  });
  const server = await cluster({ cert: certificatePem, key: keyPem });
  server.put(pools, testPool("ocr", { app: "ocr" }));
  server.put(pods, testPod("a", "10.0.0.1"));
  const { directory } = await watched(server, {
    api: await connected(server, authority.certificatePem, "secret-token"),
  });
  await directory.ready;
  expect(ids(directory)).toEqual(["a"]);
  expect(server.shown).toBe("Bearer secret-token");
  // Another authority is not believed.
  const { directory: other } = await watched(server);
  await other.ready;
  expect(other.snapshot().problem).toContain("cannot be reached");
  expect(other.snapshot().problem).not.toContain("secret-token");
});

/** A directory of services. */
async function services(server: FakeApiServer, more: Partial<ServiceSourceOptions> = {}) {
  const api = await connected(server);
  return kept(
    serviceSource({ api, namespace: "shop", trust: "listed", clock, random: seededRandom(1), ...more }),
  );
}

const slice = (
  name: string,
  service: string,
  ips: readonly string[],
  labels: Readonly<Record<string, string>> = {},
) => ({
  metadata: { name, namespace: "shop", labels: { "kubernetes.io/service-name": service, ...labels } },
  endpoints: ips.map((ip, at) => ({
    addresses: [ip],
    conditions: { ready: at !== 2 },
    targetRef: { kind: "Pod", name: `${name}-${at}` },
    zone: "z1",
  })),
  ports: [
    { name: "grpc", port: 8001 },
    { name: "http", port: 8000 },
  ],
});

it("lists the ready addresses behind services that carry the label, or behind one service", async () => {
  const server = await cluster();
  server.put(
    slices,
    slice("s1", "ocr", ["10.0.0.1", "10.0.0.2", "10.0.0.3"], { "longshore.dev/servers": "oip" }),
  );
  server.put(slices, slice("s2", "web", ["10.0.0.9"]));
  const all = await services(server);
  await all.ready;
  expect(all.snapshot().entries).toMatchObject([
    { id: "s1-0:8000", address: "http://10.0.0.1:8000", zone: "z1", kind: "oip", trust: "listed" },
    { id: "s1-1:8000" },
  ]);
  const one = await services(server, { service: "web", port: "grpc" });
  await one.ready;
  expect(one.snapshot().entries).toMatchObject([{ address: "http://10.0.0.9:8001", kind: "longshore" }]);
  server.put(slices, slice("s1", "ocr", ["10.0.0.1"], { "longshore.dev/servers": "oip" }));
  await becomes(all, ["s1-0:8000"]);
});

it("refuses names and configurations that cannot be meant", async () => {
  const server = await cluster();
  const api = await connected(server);
  const common = { api, trust: "listed", clock, random: seededRandom(1) } as const;
  expect(() => poolSource({ ...common, namespace: "Shop", name: "ocr" })).toThrow("a pool is NAMESPACE/NAME");
  expect(() => serviceSource({ ...common, namespace: "shop", service: "a/b" })).toThrow(
    "no such namespace or service",
  );
  const environment = { KUBECONFIG: join(folder, "none") };
  expect(() => connectKubernetes({ environment })).toThrow("the kubeconfig file cannot be read");
  const far = join(folder, "far");
  await writeFile(far, kubeconfigOf(new URL("http://192.0.2.1:8080")));
  expect(() => connectKubernetes({ kubeconfig: far })).toThrow("http address of another machine");
});
