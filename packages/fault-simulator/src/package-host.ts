import { createHash } from "node:crypto";
import { LongshoreError } from "@longshore/core";
import {
  housekeepingCall,
  manifestDigest,
  type PackageManifest,
  remotePackages,
  sleep,
} from "@longshore/core/internal";
import { fetchPackage, packageStore } from "@longshore/nodejs";
import type { ModelStore } from "@longshore/engine";
import type { PackageShelf, ShelvedPackage } from "@longshore/server";
import { doubleEndpoint, sha256Of } from "@longshore/testkit";
import { type Disk, packagesOn } from "./disk.ts";
import type { Machine } from "./machine.ts";
import type { ModelName } from "./models.ts";
import { after, infoOf, served, type Surroundings } from "./parts.ts";
import type { Started } from "./server.ts";

/** Packages of all models, by the paths of their files. */
export type PackageFiles = Readonly<Record<string, Uint8Array | string>>;

interface Shelved extends ShelvedPackage {
  readonly content: ReadonlyMap<string, Uint8Array>;
}

const encoder = new TextEncoder();

async function shelved(model: string, files: PackageFiles): Promise<Shelved> {
  const content = new Map<string, Uint8Array>();
  const listed = Object.entries(files)
    .filter(([path]) => path.startsWith(`${model}/`))
    .map(([path, text]) => {
      const bytes = typeof text === "string" ? encoder.encode(text) : text;
      const digest = `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
      content.set(digest, bytes);
      return { path: path.slice(model.length + 1), bytes: bytes.byteLength, digest };
    });
  const manifest: PackageManifest = { schemaVersion: 1, model, files: listed };
  const digest = await manifestDigest(manifest, sha256Of);
  return { model, digest, manifest: encoder.encode(JSON.stringify({ body: manifest })), content };
}

/** The digests of packages, as an operator writes them down. */
export async function packageDigests(
  models: readonly ModelName[],
  files: PackageFiles,
): Promise<ReadonlyMap<ModelName, string>> {
  const all = await Promise.all(
    models.map(async (model) => [model, (await shelved(model, files)).digest] as const),
  );
  return new Map(all);
}

/** It runs nothing itself. */
const about = { tier: "cloud", zone: "earth", trust: "operated" } as const;

/** Starts a machine that gives packages away. */
export async function startPackageHost(
  name: string,
  machine: Machine,
  surroundings: Surroundings,
  models: readonly ModelName[],
  files: PackageFiles,
): Promise<Started> {
  const packages = new Map<string, Shelved>();
  for (const model of models) packages.set(model, await shelved(model, files));
  const shelf: PackageShelf = {
    ofModel: (model) => Promise.resolve(packages.get(model)),
    ofDigest: (digest) => Promise.resolve([...packages.values()].find((one) => one.digest === digest)),
    open: ({ model }, file, fromByte) => {
      const bytes = packages.get(model)?.content.get(file);
      return Promise.resolve(bytes && { bytes: bytes.byteLength, read: () => once(bytes.slice(fromByte)) });
    },
  };
  const { handler, life, endpoint } = await served(
    machine,
    surroundings,
    doubleEndpoint([], infoOf(name, about)),
    {
      packages: shelf,
    },
  );
  const port = surroundings.network.listen(machine, handler);
  life.ready();
  let closed: Promise<void> | undefined;
  const close = async (graceMs: number): Promise<void> => {
    await Promise.race([life.drain(), after(machine.clock, graceMs)]);
    port[Symbol.dispose]();
    await endpoint.close();
  };
  return { inFlight: () => life.inFlight, close: (graceMs) => (closed ??= close(graceMs)) };
}

async function* once(bytes: Uint8Array): AsyncIterable<Uint8Array> {
  yield bytes;
}

/** Pause between two tries of a package, in milliseconds. */
const againMs = 2000;

/** Gets packages into a store, each until it is here. */
export async function pulledStore(
  machine: Machine,
  surroundings: Surroundings,
  host: string,
  wanted: ReadonlyMap<ModelName, string>,
  disk: Disk,
  stop: AbortSignal,
): Promise<ModelStore> {
  const { clock, random } = machine;
  const cache = packagesOn(disk, clock);
  const store = packageStore(cache);
  const source = remotePackages(surroundings.network.transport(machine, `http://${host}`), host);
  const call = housekeepingCall("packages", stop);
  for (const digest of wanted.values()) {
    for (;;) {
      try {
        const fetched = await fetchPackage({ source, cache, clock, random }, { digest }, call);
        store.put({ ...fetched, again: (file) => fetched.refetch(file, call) });
        break;
      } catch (thrown) {
        if (stop.aborted) throw thrown;
        const { reason, message } = LongshoreError.from(thrown, "resolve", "getting a package");
        surroundings.note(machine.name, `package ${digest.slice(0, 15)}: ${reason} ${message}`);
        await sleep(clock, againMs, stop);
      }
    }
  }
  return store;
}
