import { createHash } from "node:crypto";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { LongshoreError } from "@longshore/core";
import {
  housekeepingCall,
  manifestDigest,
  manifestJson,
  type PackageManifest,
  sign,
} from "@longshore/core/internal";
import { systemClock } from "../device/index.ts";
import { newOperatorKey, operatorRing, operatorSigner } from "../directory/index.ts";
import { httpTransport } from "../http/index.ts";
import { sha256 } from "../store/index.ts";
import { packageCache } from "./cache.ts";
import { fetchPackage } from "./fetch-package.ts";
import { folderPackages, writeFolderPackage } from "./folder-packages.ts";
import { ociPackages, ociRepository, type OciOptions, pushOciPackage } from "./oci-packages.ts";

const key = newOperatorKey();
const ring = operatorRing(key.publicLine);
const call = housekeepingCall("test");
const clock = systemClock();
const digestOf = (bytes: Uint8Array): string => `sha256:${createHash("sha256").update(bytes).digest("hex")}`;
const text = (content: string): Uint8Array => new TextEncoder().encode(content);

const files: Readonly<Record<string, Uint8Array>> = {
  "model.yaml": text("name: vad\n"),
  "1/model.onnx": Uint8Array.from({ length: 5000 }, (_, at) => at & 255),
};
const manifest: PackageManifest = {
  schemaVersion: 1,
  model: "vad",
  files: Object.entries(files).map(([path, bytes]) => ({
    path,
    bytes: bytes.byteLength,
    digest: digestOf(bytes),
  })),
};
const digest = await manifestDigest(manifest, sha256);
const signed = text(
  JSON.stringify(await sign("package manifest", manifestJson(manifest), operatorSigner(key.privatePem))),
);
const read = async (path: string): Promise<Uint8Array> => files[path]!;

/** Faults of the registry of a test. */
interface Faults {
  /** Basic credentials of its token server; without them the registry takes everybody. */
  readonly user?: string;
  /** Files come from another server. */
  readonly redirect?: string;
  blob?(digest: string, bytes: Uint8Array): Uint8Array;
  manifest?(bytes: Uint8Array): Uint8Array;
}

/** A registry in memory, as far as the distribution specification is used here. */
class TestRegistry {
  readonly blobs = new Map<string, Uint8Array>();
  readonly manifests = new Map<string, Uint8Array>();
  readonly seen: string[] = [];
  faults: Faults = {};
  server!: Server;

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  async open(): Promise<void> {
    this.server = createServer((request, response) => {
      const chunks: Buffer[] = [];
      request.on("data", (chunk: Buffer) => chunks.push(chunk));
      request.on("end", () => {
        const url = new URL(request.url ?? "", "http://registry");
        const { authorization = "", range = "" } = request.headers;
        this.seen.push(`${request.method} ${url.pathname} ${authorization.split(" ")[0]}`.trim());
        const {
          status,
          headers = {},
          body,
        } = this.answer(request.method ?? "", url, authorization, Buffer.concat(chunks));
        const [, from = "0"] = /^bytes=(\d+)-$/.exec(range) ?? [];
        if (status === 200 && body && from !== "0") {
          const at = Number(from);
          const told = { ...headers, "content-range": `bytes ${at}-${body.length - 1}/${body.length}` };
          response.writeHead(206, told).end(body.subarray(at));
        } else response.writeHead(status, headers).end(request.method === "HEAD" ? undefined : body);
      });
    }).listen(0, "127.0.0.1");
    await once(this.server, "listening");
  }

  answer(
    method: string,
    url: URL,
    authorization: string,
    body: Buffer,
  ): { status: number; headers?: Record<string, string>; body?: Uint8Array } {
    const { user, redirect } = this.faults;
    if (url.pathname === "/token") {
      const good = user !== undefined && authorization === `Basic ${Buffer.from(user).toString("base64")}`;
      return good
        ? { status: 200, body: text(JSON.stringify({ token: `for-${url.searchParams.get("scope")}` })) }
        : { status: 401 };
    }
    if (user !== undefined && authorization !== "Bearer for-models") {
      const realm = `http://127.0.0.1:${this.port}/token`;
      const challenge = `Bearer realm="${realm}",service="registry",scope="models"`;
      return { status: 401, headers: { "www-authenticate": challenge } };
    }
    const [, kind = "", name = ""] = /^\/v2\/shop\/models\/(blobs|manifests)\/(.*)$/.exec(url.pathname) ?? [];
    if (method === "POST") return { status: 202, headers: { location: "/v2/shop/models/blobs/uploads/1" } };
    if (method === "PUT") {
      if (kind === "blobs") this.blobs.set(url.searchParams.get("digest") ?? "", body);
      else {
        this.manifests.set(name, body);
        this.manifests.set(digestOf(body), body);
      }
      return { status: 201 };
    }
    if (kind === "blobs" && redirect !== undefined && method === "GET") {
      return { status: 307, headers: { location: `${redirect}/v2/shop/models/blobs/${name}` } };
    }
    const found = (kind === "blobs" ? this.blobs : this.manifests).get(name);
    if (!found) return { status: 404 };
    const sent =
      (kind === "blobs" ? this.faults.blob?.(name, found) : this.faults.manifest?.(found)) ?? found;
    return { status: 200, headers: { "docker-content-digest": digestOf(found) }, body: sent };
  }
}

let folder: string;
let registry: TestRegistry;
beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), "longshore-oci-"));
  registry = new TestRegistry();
  await registry.open();
});
afterEach(() => {
  registry.server.close();
  rmSync(folder, { recursive: true });
});

function at(more: Partial<OciOptions> = {}): OciOptions {
  return {
    ...ociRepository(`oci:127.0.0.1:${registry.port}/shop/models`),
    open: (address) => httpTransport({ address, clock }),
    ...more,
  };
}

const push = (more: Partial<OciOptions> = {}): Promise<string> =>
  pushOciPackage(at(more), digest, signed, read, call).then(({ artifact }) => artifact);

async function fetched(
  wanted: { readonly model: string } | { readonly digest: string },
  more: Partial<OciOptions> = {},
): Promise<string> {
  const source = ociPackages(at(more));
  try {
    const cache = packageCache(join(folder, "cache"), { clock });
    using found = await fetchPackage(
      { source, cache, clock, random: { next: () => 0 }, tries: 2, ring },
      wanted,
      call,
    );
    return found.digest;
  } finally {
    await source.close();
  }
}

const reasonOf = (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => "none",
    (thrown: unknown) => LongshoreError.from(thrown, "transport", "test").reason,
  );

describe("packages in an OCI registry", () => {
  it("are found by model, by package digest and by the digest of the artifact", async () => {
    const pinned = await push();
    expect(registry.manifests.get(pinned)).toBeDefined();
    expect(await fetched({ model: "vad" })).toBe(digest);
    expect(await fetched({ digest })).toBe(digest);
    registry.manifests.delete("vad");
    expect(await fetched({ model: "vad" }, { pinned })).toBe(digest);
    expect(await reasonOf(fetched({ model: "vad" }))).toBe("unknown-model");
  });

  it("are pushed once: files that are there are not sent again", async () => {
    await push();
    registry.seen.length = 0;
    await push();
    expect(registry.seen.filter((line) => line.startsWith("POST"))).toEqual([]);
  });

  it("are refused if the registry lies about a digest", async () => {
    const pinned = await push();
    registry.faults = { manifest: (bytes) => text(`${new TextDecoder().decode(bytes)} `) };
    expect(await reasonOf(fetched({ model: "vad" }))).toBe("bad-reply");
    expect(await reasonOf(fetched({ model: "vad" }, { pinned }))).toBe("bad-reply");
    registry.faults = { blob: (_, bytes) => bytes.map((value, at) => (at === 3 ? value ^ 1 : value)) };
    expect(await reasonOf(fetched({ model: "vad" }))).toBe("bad-reply");
    const graph = digestOf(files["1/model.onnx"]!);
    registry.faults = { blob: (name, bytes) => (name === graph ? bytes.map((value) => value ^ 1) : bytes) };
    expect(await reasonOf(fetched({ model: "vad" }))).toBe("bad-reply");
    registry.faults = { blob: (name, bytes) => (name === graph ? bytes.slice(1) : bytes) };
    expect(await reasonOf(fetched({ model: "vad" }))).toBe("no-answer");
    registry.faults = {};
    expect(await fetched({ model: "vad" })).toBe(digest);
  });

  it("are refused if an image of containers has their tag", async () => {
    await push();
    registry.manifests.set("vad", text(JSON.stringify({ schemaVersion: 2, config: {}, layers: [] })));
    expect(await reasonOf(fetched({ model: "vad" }))).toBe("bad-reply");
  });

  it("need the credential of the token server that the registry names", async () => {
    registry.faults = { user: "robot:secret" };
    expect(await reasonOf(push())).toBe("unauthenticated");
    expect(await reasonOf(push({ credential: "robot:other" }))).toBe("unauthenticated");
    await push({ credential: "robot:secret" });
    expect(await fetched({ model: "vad" }, { credential: "robot:secret" })).toBe(digest);
  });

  it("come from the server that the registry redirects to, which is shown no credential", async () => {
    await push();
    const store = new TestRegistry();
    await store.open();
    for (const [name, bytes] of registry.blobs) store.blobs.set(name, bytes);
    registry.faults = { redirect: `http://127.0.0.1:${store.port}` };
    expect(await fetched({ model: "vad" }, { credential: "robot:secret" })).toBe(digest);
    expect(store.seen.every((line) => !line.includes("Basic"))).toBe(true);
    registry.faults = { redirect: `http://127.0.0.1:${registry.port}` };
    rmSync(join(folder, "cache"), { recursive: true });
    expect(await reasonOf(fetched({ model: "vad" }))).toBe("bad-reply");
    store.server.close();
  });

  it("have addresses of one form", () => {
    expect(ociRepository("oci:registry.example/shop/models").address).toBe("https://registry.example");
    expect(ociRepository("oci://localhost:5000/m").address).toBe("http://localhost:5000");
    for (const wrong of ["oci:host", "oci:u:p@host/m", "oci:host/M", "oci:host/m:tag", "oci:host/m@sha256:1"])
      expect(() => ociRepository(wrong), wrong).toThrow("oci:HOST[:PORT]/REPOSITORY");
  });
});

it("packages in a folder are found by model and digest, through any web server", async () => {
  const { readFile } = await import("node:fs/promises");
  const www = join(folder, "www");
  await writeFolderPackage(www, digest, signed, read);
  await writeFolderPackage(www, digest, signed, () => Promise.reject(new Error("all files are there")));
  const server = createServer((request, response) => {
    readFile(join(www, (request.url ?? "").replace("/packages-of-shop", ""))).then(
      (bytes) => response.end(bytes),
      () => response.writeHead(404).end(),
    );
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = `http://127.0.0.1:${(server.address() as AddressInfo).port}/packages-of-shop`;
  const transport = httpTransport({ address, clock });
  const source = folderPackages(transport, address);
  const cache = packageCache(join(folder, "cache"), { clock });
  const parts = { source, cache, clock, random: { next: () => 0 }, ring };
  for (const wanted of [{ model: "vad" }, { digest }]) {
    using found = await fetchPackage(parts, wanted, call);
    expect(found.digest).toBe(digest);
  }
  expect(await reasonOf(fetchPackage(parts, { model: "ocr" }, call))).toBe("unknown-model");
  await transport.close();
  server.close();
});
