import { createHash } from "node:crypto";
import { readFile, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { type Clock, LongshoreError } from "@longshore/core";
import { inSteps, turnWhileWanted } from "@longshore/core/internal";
import {
  createIdentify,
  fetchKeySet,
  type Identification,
  type Identify,
  type IdentityConfiguration,
  keyFileWork,
  keySetAddress,
  type KeySetAccess,
  parseIdentity,
  weightOf,
} from "@longshore/server";
import { fetchTrusting } from "../connect/fetch-trusting.ts";
import { fastKeyHasher, readPepper } from "./pepper.ts";
import { watchFiles } from "@longshore/nodejs";
import { readTextFile } from "../connect/read-text.ts";

/** Identity from files, which are watched. */
export interface OpenedIdentity {
  readonly identify: Identify;
  /** Share of a tenant in device time, as the file says now. */
  readonly weightOf: (tenant: string) => number;
  /** Stops watching. */
  close(): void;
}

/** The parts that identity from files needs. */
export interface IdentityParts {
  readonly clock: Clock;
  /** Gets a line when files were read again, and when they could not be. */
  readonly report: (text: string) => void;
  /** How often the files are looked at, in milliseconds. Default 2,000. */
  readonly everyMs?: number;
}

/** The largest key set from a file, in bytes. */
const maxKeySetBytes = 262_144;

const isAddress = (from: string): boolean => /^[a-z][a-z0-9+.-]*:\/\//i.test(from);

async function fileBytes(file: string): Promise<Uint8Array> {
  const { size } = await stat(file);
  if (size > maxKeySetBytes) throw new RangeError(`it has more than ${maxKeySetBytes} bytes`);
  return readFile(file);
}

/** The files of a configuration, by content. */
interface Files {
  readonly keys: string | undefined;
  readonly pepper: string | undefined;
  readonly loadKeySet: (from: string, access: KeySetAccess) => Promise<Uint8Array>;
}

function filesOf(folder: string, { keys }: IdentityConfiguration, clock: Clock): Files {
  const file = keys && resolve(folder, keys.file);
  return {
    keys: file,
    pepper: keys && file && (keys.pepper === undefined ? `${file}.pepper` : resolve(folder, keys.pepper)),
    loadKeySet: async (from, { bearer, ca }) => {
      if (!isAddress(from)) return fileBytes(resolve(folder, from));
      // Read each time: tokens of pods, and authorities, are replaced while the server runs.
      const token =
        bearer && (await readTextFile(resolve(folder, bearer), "the token for the key set")).trim();
      const trusted = ca && (await readTextFile(resolve(folder, ca), "the authorities of the key set"));
      return fetchKeySet(from, {
        clock,
        fetch: trusted === undefined || trusted === "" ? fetch : fetchTrusting(trusted),
        ...(token === undefined || token === "" ? {} : { bearer: token }),
      });
    },
  };
}

/** Refuses key sets that cannot exist: an issuer that is briefly away is no reason, a misspelt name is. */
async function checkKeySets(folder: string, { tokens }: IdentityConfiguration): Promise<void> {
  for (const { issuer, keySet = {} } of tokens ?? []) {
    const given: KeySetAccess & { readonly from?: string | undefined } =
      typeof keySet === "string" ? { from: keySet } : keySet;
    const { from = issuer, bearer, ca } = given;
    if (bearer !== undefined) await readTextFile(resolve(folder, bearer), "the token for the key set");
    if (ca !== undefined) await readTextFile(resolve(folder, ca), "the authorities of the key set");
    if (isAddress(from)) keySetAddress(from);
    else await readTextFile(resolve(folder, from), "the key set");
  }
}

class FileIdentity implements OpenedIdentity {
  readonly #file: string;
  readonly #parts: IdentityParts;
  #text = "";
  #tenants: IdentityConfiguration["tenants"];
  #files: Files | undefined;
  #current: Identification | undefined;
  #watch: Disposable | undefined;
  readonly #closed = new AbortController();

  constructor(file: string, parts: IdentityParts) {
    this.#file = file;
    this.#parts = parts;
  }

  readonly identify: Identify = (request) => {
    if (this.#current) return this.#current.identify(request);
    throw new LongshoreError("rejected", "identify", "identity is not ready yet");
  };

  readonly weightOf = (tenant: string): number => weightOf(this.#tenants, tenant);

  async open(): Promise<void> {
    await this.#load();
    this.#watch = await watchFiles(
      () => [this.#file, this.#files?.keys ?? this.#file, this.#files?.pepper ?? this.#file],
      this.#parts.clock,
      () => this.#again(),
      this.#parts.everyMs,
    );
  }

  close(): void {
    this.#closed.abort();
    this.#watch?.[Symbol.dispose]();
  }

  /** Reads all again, and changes nothing unless all of it is good. Unchanged parts keep what they have learned. */
  async #load(): Promise<void> {
    const { clock, report } = this.#parts;
    const yaml = await readTextFile(this.#file, "identity");
    let files = this.#files;
    let current = this.#current;
    let tenants = this.#tenants;
    if (!files || !current || yaml !== this.#text) {
      const configuration = parseIdentity(yaml);
      tenants = configuration.tenants;
      const folder = dirname(resolve(this.#file));
      await checkKeySets(folder, configuration);
      files = filesOf(folder, configuration, clock);
      current = createIdentify({
        configuration,
        clock,
        report,
        loadKeySet: files.loadKeySet,
        digest: (token) => createHash("sha256").update(token).digest("hex"),
      });
    }
    if (files.keys !== undefined && files.pepper !== undefined) {
      const text = await readTextFile(files.keys, "the file of keys, which 'longshore keys add' makes,");
      // Ten thousands of keys take long: requests go first.
      const records = await inSteps(keyFileWork(text), () =>
        turnWhileWanted(clock, this.#closed.signal, "resolve"),
      );
      current.keys.replace(records, fastKeyHasher(await readPepper(files.pepper)));
    }
    this.#text = yaml;
    this.#tenants = tenants;
    this.#files = files;
    this.#current = current;
  }

  async #again(): Promise<void> {
    try {
      await this.#load();
      this.#parts.report("identity: the files changed and were read again");
    } catch (thrown) {
      if (this.#closed.signal.aborted) return;
      const { message } = LongshoreError.from(thrown, "resolve", "reading identity again");
      this.#parts.report(
        `identity: the changed files are invalid; the earlier ones stay in force (${message})`,
      );
    }
  }
}

/**
 * Identity as `identity.yaml` says, with the files that it names beside it. Files are watched: keys that are added or
 * revoked count within seconds. A change that is not good is reported and not taken. Throws `invalid-configuration` when
 * the files are not good to begin with.
 */
export async function openIdentity(file: string, parts: IdentityParts): Promise<OpenedIdentity> {
  const identity = new FileIdentity(file, parts);
  await identity.open();
  return identity;
}
