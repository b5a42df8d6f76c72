import { type Call, LongshoreError, readBody, type Transport, type WireResponse } from "@longshore/core";
import {
  fileBytes,
  maxManifestBytes,
  type PackageReference,
  type PackageSource,
  parseJson,
  printable,
  signedManifestFrom,
} from "@longshore/core/internal";
import { sha256 } from "../store/index.ts";

/*
 * A package in an OCI registry is an artifact of one repository. Its config is the signed manifest, and its layers are the files; both name
 * content by SHA-256, so a file of a package is the blob with the same digest. A package has two tags: the name of its model, and `sha256-<hex>`
 * of the package's digest. Nothing that a registry says is believed: the artifact is checked against its digest, the signed manifest against the
 * artifact, its signature by `fetchPackage`, and files against the signed manifest.
 */

/** Type of the artifact, and of its config. */
const packageType = "application/vnd.longshore.package.v1+json";
const artifactType = "application/vnd.oci.image.manifest.v1+json";
const fileType = "application/octet-stream";
const titleKey = "org.opencontainers.image.title";
/** Longest reply of a token server and of an error, in bytes. */
const maxSmallReplyBytes = 65_536;
/** Redirects of one file: registries keep files in object stores. */
const maxRedirects = 3;

/** A repository of a registry. */
export interface OciRepository {
  /** `https://host[:port]`; `http` for a registry on this machine. */
  readonly address: string;
  readonly repository: string;
  /** SHA-256 of the artifact that is taken, whatever the tags say. Default: the tags decide. */
  readonly pinned?: string;
}

/** How a registry is reached. */
export interface OciOptions extends OciRepository {
  /** `USER:PASSWORD`, or a token. */
  readonly credential?: string;
  /** Opens a connection to an address; only the registry itself is told `credential`, and only servers of tokens that it names. */
  readonly open: (address: string) => Transport;
}

const form = "oci:HOST[:PORT]/REPOSITORY[@sha256:DIGEST]";
const hostForm = String.raw`(?:[A-Za-z0-9.-]{1,253}|\[[0-9a-fA-F:]+\])(?::\d{1,5})?`;
const repositoryForm = String.raw`[a-z0-9]+(?:[._-]+[a-z0-9]+)*(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*`;
const addressPattern = new RegExp(
  `^oci:(?://)?(${hostForm})/(${repositoryForm})(?:@(sha256:[0-9a-f]{64}))?$`,
);
const loopback = /^(?:localhost|127\.\d{1,3}\.\d{1,3}\.\d{1,3}|\[::1\])(?::|$)/;

/**
 * Reads `oci:HOST[:PORT]/REPOSITORY[@sha256:DIGEST]`. Throws `invalid-configuration`.
 *
 * @example
 * ```ts
 * import { ociRepository } from "@longshore/nodejs";
 *
 * console.log(ociRepository("oci:registry.example/models/ocr").address); // https://registry.example
 * ```
 */
export function ociRepository(text: string): OciRepository {
  const [, host = "", repository = "", pinned] = addressPattern.exec(text) ?? [];
  if (host === "" || repository.length > 255) {
    // Not the text itself: people write passwords into addresses.
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `packages in an OCI registry are at ${form}; a user and password go into the file of --packages-key`,
    );
  }
  const address = `${loopback.test(host) ? "http" : "https"}://${host}`;
  return { address, repository, ...(pinned === undefined ? {} : { pinned }) };
}

/** Content of a registry by its digest. */
interface Descriptor {
  readonly mediaType: string;
  readonly digest: string;
  readonly size: number;
  readonly annotations?: Readonly<Record<string, string>>;
}

function isDescriptor(value: unknown): value is Descriptor {
  if (typeof value !== "object" || value === null) return false;
  const { digest, size } = value as Partial<Descriptor>;
  return /^sha256:[0-9a-f]{64}$/.test(String(digest)) && Number.isSafeInteger(size) && Number(size) >= 0;
}

function badReply(message: string, cause?: unknown): LongshoreError {
  return new LongshoreError("bad-reply", "decode", message, cause === undefined ? {} : { cause });
}

/** The tag of a package. Throws `invalid-input` for a model whose name no tag can have. */
function tagOf(wanted: PackageReference): string {
  const tag = "model" in wanted ? wanted.model : wanted.digest.replace(":", "-");
  if (/^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/.test(tag)) return tag;
  throw new LongshoreError("invalid-input", "resolve", `'${printable(tag)}' cannot be a tag of a registry`);
}

function basic(credential: string): string {
  return `Basic ${Buffer.from(credential, "utf8").toString("base64")}`;
}

/** The parameters of a challenge such as `Bearer realm="https://...",service="...",scope="..."`. */
function challengeOf(header: string | undefined): ReadonlyMap<string, string> | undefined {
  if (header === undefined || !/^bearer /i.test(header)) return undefined;
  const pairs = [...header.matchAll(/([a-z_]{1,32})="([^"]{0,1024})"/g)];
  return new Map(pairs.map(([, name = "", value = ""]) => [name, value]));
}

/** One repository, with what it wants to be shown. */
class Registry {
  readonly #options: OciOptions;
  readonly #transport: Transport;
  readonly #others = new Map<string, Transport>();
  #authorization: string | undefined;

  constructor(options: OciOptions) {
    this.#options = options;
    this.#transport = options.open(options.address);
    const { credential } = options;
    if (credential !== undefined) {
      this.#authorization = credential.includes(":") ? basic(credential) : `Bearer ${credential}`;
    }
  }

  get name(): string {
    return `${this.#options.address.replace(/^https?:\/\//, "")}/${this.#options.repository}`;
  }

  path(rest: string): string {
    return `/v2/${this.#options.repository}/${rest}`;
  }

  /** Sends a request; if the registry asks for a token of its token server, gets one and sends the request again. */
  async send(
    request: Omit<Parameters<Transport["send"]>[0], "headers" | "body"> & {
      readonly headers?: Readonly<Record<string, string>>;
      readonly parts?: readonly Uint8Array[];
    },
    call: Call,
  ): Promise<WireResponse> {
    const { parts = [], headers = {}, ...rest } = request;
    const attempt = (): Promise<WireResponse> => {
      const shown = this.#authorization === undefined ? {} : { authorization: this.#authorization };
      return this.#transport.send(
        { ...rest, headers: { ...headers, ...shown }, body: { kind: "parts", parts } },
        call,
      );
    };
    const reply = await attempt();
    const challenge = reply.status === 401 ? challengeOf(reply.headers["www-authenticate"]) : undefined;
    if (!challenge) return reply;
    await readBody(reply.body, { maxBytes: maxSmallReplyBytes });
    this.#authorization = `Bearer ${await this.#token(challenge, call)}`;
    return attempt();
  }

  async #token(challenge: ReadonlyMap<string, string>, call: Call): Promise<string> {
    const realm = challenge.get("realm") ?? "";
    if (!URL.canParse(realm)) throw badReply(`${this.name} names no server of tokens`);
    const url = new URL(realm);
    for (const key of ["service", "scope"]) {
      const value = challenge.get(key);
      if (value !== undefined) url.searchParams.set(key, value);
    }
    const { credential } = this.#options;
    const shown: Record<string, string> =
      credential?.includes(":") === true ? { authorization: basic(credential) } : {};
    const reply = await this.#elsewhere(url).send(
      {
        method: "GET",
        path: `${url.pathname}${url.search}`,
        headers: shown,
        body: { kind: "parts", parts: [] },
      },
      call,
    );
    const bytes = await readBody(reply.body, { maxBytes: maxSmallReplyBytes });
    const told = reply.status === 200 ? parseJson(bytes, "a token") : undefined;
    const { token, access_token: access } = (told ?? {}) as Record<string, unknown>;
    const text = token ?? access;
    if (typeof text === "string" && /^[A-Za-z0-9._~+/-]{1,16384}=*$/.test(text)) return text;
    throw new LongshoreError(
      "unauthenticated",
      "transport",
      `${url.host} gave no token for ${this.name} (${reply.status})`,
    );
  }

  /** Another server that the registry names: encrypted as the registry is. */
  #elsewhere(url: URL): Transport {
    const { address, open } = this.#options;
    if (url.origin === new URL(address).origin) return this.#transport;
    if (url.protocol !== "https:" && !(url.protocol === "http:" && address.startsWith("http:"))) {
      throw badReply(`${this.name} refers to ${printable(url.host)} over ${printable(url.protocol)}`);
    }
    const transport = this.#others.get(url.origin) ?? open(url.origin);
    this.#others.set(url.origin, transport);
    return transport;
  }

  /** A blob from some byte on. Files may be elsewhere: what the registry is shown is not shown there. */
  async blob(digest: string, fromByte: number, call: Call): Promise<WireResponse> {
    const range = fromByte > 0 ? { range: `bytes=${fromByte}-` } : {};
    let reply = await this.send({ method: "GET", path: this.path(`blobs/${digest}`), headers: range }, call);
    let at = this.#options.address;
    for (let hops = 0; reply.status >= 301 && reply.status <= 308 && reply.status !== 304; hops++) {
      const { location = "" } = reply.headers;
      await readBody(reply.body, { maxBytes: maxSmallReplyBytes });
      if (hops === maxRedirects || !URL.canParse(location, at)) {
        throw badReply(`${this.name} sends in a circle for the file ${digest}`);
      }
      const url = new URL(location, at);
      at = url.href;
      reply = await this.#elsewhere(url).send(
        {
          method: "GET",
          path: `${url.pathname}${url.search}`,
          headers: range,
          body: { kind: "parts", parts: [] },
        },
        call,
      );
    }
    return reply;
  }

  /** Throws what a registry's refusal means. */
  async refused(reply: WireResponse, what: string): Promise<never> {
    await readBody(reply.body, { maxBytes: maxSmallReplyBytes }).catch(() => undefined);
    const { status } = reply;
    const [reason, stage] =
      status === 401
        ? (["unauthenticated", "transport"] as const)
        : status === 403
          ? (["not-permitted", "identify"] as const)
          : status === 404
            ? (["unknown-model", "resolve"] as const)
            : status === 429 || status >= 500
              ? (["no-answer", "transport"] as const)
              : (["bad-reply", "decode"] as const);
    throw new LongshoreError(reason, stage, `${this.name} answers ${status} for ${what}`);
  }

  async close(): Promise<void> {
    for (const one of [this.#transport, ...this.#others.values()]) await one.close();
  }
}

/** The config of an artifact, which is the package's signed manifest. */
async function configOf(registry: Registry, reference: string, call: Call): Promise<Descriptor> {
  const path = registry.path(`manifests/${reference}`);
  const reply = await registry.send({ method: "GET", path, headers: { accept: artifactType } }, call);
  if (reply.status !== 200) return registry.refused(reply, reference);
  const told = reply.headers["docker-content-digest"];
  const bytes = await readBody(reply.body, { maxBytes: maxManifestBytes });
  const digest = await sha256(bytes);
  const expected = reference.startsWith("sha256:") ? reference : told;
  if (expected !== undefined && expected !== digest) {
    throw badReply(`${registry.name} sent ${digest} as ${printable(expected)}`);
  }
  const { config } = parseJson(bytes, "the artifact") as { readonly config?: unknown };
  if (!isDescriptor(config) || config.mediaType !== packageType) {
    throw badReply(`${reference} in ${registry.name} is no package of a model`);
  }
  return config;
}

/**
 * The packages in a repository of an OCI registry. Nothing is connected before the first request.
 *
 * @example
 * ```ts
 * import { httpTransport, ociPackages, ociRepository, systemClock } from "@longshore/nodejs";
 *
 * const clock = systemClock();
 * const source = ociPackages({
 *   ...ociRepository("oci:registry.example/models/ocr"),
 *   open: (address) => httpTransport({ address, clock }),
 * });
 * console.log(source.name); // registry.example/models/ocr
 * await source.close();
 * ```
 */
export function ociPackages(options: OciOptions): PackageSource & { close(): Promise<void> } {
  const registry = new Registry(options);
  return {
    name: registry.name,
    async manifest(wanted, call) {
      const config = await configOf(registry, options.pinned ?? tagOf(wanted), call);
      if (config.size > maxManifestBytes) {
        throw badReply(`the manifest in ${registry.name} has ${config.size} bytes`);
      }
      const reply = await registry.blob(config.digest, 0, call);
      if (reply.status !== 200) return registry.refused(reply, `the manifest ${config.digest}`);
      const bytes = await readBody(reply.body, { maxBytes: maxManifestBytes });
      const digest = await sha256(bytes);
      if (digest === config.digest) return bytes;
      throw badReply(`${registry.name} sent ${digest} as ${config.digest}`);
    },
    async file(_packageDigest, digest, fromByte, call) {
      const reply = await registry.blob(digest, fromByte, call);
      if (reply.status !== 200 && reply.status !== 206) {
        return registry.refused(reply, `the file ${digest}`);
      }
      return fileBytes(reply, fromByte, registry.name);
    },
    close: () => registry.close(),
  };
}

/** Sends a blob unless the registry has it. @returns whether it was sent */
async function pushBlob(registry: Registry, digest: string, bytes: Uint8Array, call: Call): Promise<boolean> {
  const there = await registry.send({ method: "HEAD", path: registry.path(`blobs/${digest}`) }, call);
  if (there.status === 200) return false;
  const begun = await registry.send({ method: "POST", path: registry.path("blobs/uploads/") }, call);
  const { location = "" } = begun.headers;
  if (begun.status !== 202) return registry.refused(begun, "an upload");
  await readBody(begun.body, { maxBytes: maxSmallReplyBytes });
  const base = "http://registry.invalid";
  if (!URL.canParse(location, base)) throw badReply(`${registry.name} names no address for an upload`);
  const url = new URL(location, base);
  url.searchParams.set("digest", digest);
  const headers = { "content-type": fileType };
  const path = `${url.pathname}${url.search}`;
  const put = await registry.send({ method: "PUT", path, headers, parts: [bytes] }, call);
  if (put.status !== 201) return registry.refused(put, `the file ${digest}`);
  await readBody(put.body, { maxBytes: maxSmallReplyBytes });
  return true;
}

/**
 * Puts a signed package into a repository: files that are not there yet, then the artifact with its tags.
 *
 * @param manifest The signed manifest as JSON, as `longshore package sign` writes it.
 * @param read The content of a file, by its path in the manifest; it must have the digest that the manifest says.
 * @returns the digest of the artifact, for `oci:HOST/REPOSITORY@DIGEST`, and how many files were sent
 * @example
 * ```ts
 * import { housekeepingCall } from "@longshore/core/internal";
 * import { httpTransport, ociRepository, pushOciPackage, sha256, systemClock } from "@longshore/nodejs";
 *
 * const clock = systemClock();
 * const at = {
 *   ...ociRepository("oci:registry.example/models/ocr"),
 *   open: (address: string) => httpTransport({ address, clock }),
 * };
 * const unsigned = new TextEncoder().encode("{}");
 * const pushed = pushOciPackage(
 *   at,
 *   await sha256(unsigned),
 *   unsigned,
 *   async () => new Uint8Array(),
 *   housekeepingCall("push"),
 * );
 * console.log(await pushed.catch(() => "not a signed manifest")); // not a signed manifest
 * ```
 */
export async function pushOciPackage(
  options: OciOptions,
  digest: string,
  manifest: Uint8Array,
  read: (path: string) => Promise<Uint8Array>,
  call: Call,
): Promise<{ readonly artifact: string; readonly sent: number }> {
  const { body } = signedManifestFrom(parseJson(manifest, "the manifest"), "the manifest");
  const tags = [tagOf({ digest }), tagOf({ model: body.model })];
  const registry = new Registry(options);
  try {
    let sent = 0;
    const layers: Descriptor[] = [];
    for (const file of body.files) {
      if (await pushBlob(registry, file.digest, await read(file.path), call)) sent++;
      const annotations = { [titleKey]: file.path };
      layers.push({ mediaType: fileType, digest: file.digest, size: file.bytes, annotations });
    }
    const config = { mediaType: packageType, digest: await sha256(manifest), size: manifest.byteLength };
    await pushBlob(registry, config.digest, manifest, call);
    const artifact = new TextEncoder().encode(
      JSON.stringify({
        schemaVersion: 2,
        mediaType: artifactType,
        artifactType: packageType,
        config,
        layers,
        annotations: { "dev.longshore.package": digest, "dev.longshore.model": body.model },
      }),
    );
    for (const tag of tags) {
      const path = registry.path(`manifests/${tag}`);
      const headers = { "content-type": artifactType };
      const put = await registry.send({ method: "PUT", path, headers, parts: [artifact] }, call);
      if (put.status !== 201) await registry.refused(put, `the artifact ${tag}`);
      await readBody(put.body, { maxBytes: maxSmallReplyBytes });
    }
    return { artifact: await sha256(artifact), sent };
  } finally {
    await registry.close();
  }
}
