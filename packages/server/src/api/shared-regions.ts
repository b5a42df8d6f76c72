import { LongshoreError } from "@longshore/core";
import { type SharedPart } from "@longshore/core/internal";

/** One object of this machine's shared memory, open. Offsets and lengths in bytes. */
export interface SharedObject {
  readonly byteLength: number;
  /** Fills `into` from `offset` on. Throws `invalid-input` when the object ends before. */
  read(offset: number, into: Uint8Array): Promise<void>;
  write(offset: number, bytes: Uint8Array): Promise<void>;
  close(): Promise<void>;
}

/** Opens the memory that the operator shares with clients. Throws `invalid-input` or `not-permitted` for every other key. */
export interface SharedMemory {
  open(key: string): Promise<SharedObject>;
}

interface Region {
  readonly name: string;
  readonly key: string;
  readonly offset: number;
  readonly byteSize: number;
  readonly object: SharedObject;
  users: number;
  gone: boolean;
}

/** The most regions that one tenant may have registered: each holds an open file. */
const maxRegions = 256;

function invalid(message: string): LongshoreError {
  return new LongshoreError("invalid-input", "admission", message);
}

/** Regions that clients have registered, by tenant: no tenant can see or use those of another. */
export class SharedRegions {
  readonly #memory: SharedMemory | undefined;
  readonly #regions = new Map<string, Map<string, Region>>();

  /** @param memory Undefined: switched off. */
  constructor(memory: SharedMemory | undefined) {
    this.#memory = memory;
  }

  get enabled(): boolean {
    return this.#memory !== undefined;
  }

  list(tenant: string, name: string | undefined): readonly Region[] {
    const own = this.#regions.get(tenant);
    if (name === undefined) return [...(own?.values() ?? [])];
    return [this.#region(tenant, name)];
  }

  async register(tenant: string, name: string, key: string, offset: number, byteSize: number): Promise<void> {
    this.#checkRoom(tenant, name);
    const object = await this.#memory?.open(key);
    if (!object) throw invalid("shared memory is switched off on this server");
    try {
      // Both are safe integers, and so is a sum that passes: nothing wraps around.
      if (byteSize <= 0 || offset + byteSize > object.byteLength) {
        throw invalid("the region does not lie inside its object");
      }
      // Others may have been registered meanwhile.
      this.#checkRoom(tenant, name);
    } catch (thrown) {
      await object.close();
      throw thrown;
    }
    const own = this.#regions.get(tenant) ?? new Map<string, Region>();
    own.set(name, { name, key, offset, byteSize, object, users: 0, gone: false });
    this.#regions.set(tenant, own);
  }

  /** A missing region is no error: clients clean up before they start. */
  async unregister(tenant: string, name: string | undefined): Promise<void> {
    const own = this.#regions.get(tenant);
    const going = [...(own?.values() ?? [])].filter((region) => name === undefined || region.name === name);
    for (const region of going) {
      own?.delete(region.name);
      region.gone = true;
    }
    // Before anything is awaited, so that later registrations stay.
    if (own?.size === 0) this.#regions.delete(tenant);
    const idle = going.filter(({ users }) => users === 0);
    await Promise.all(idle.map(({ object }) => object.close()));
  }

  /** The bytes of a part, copied: the client may write there at any time. */
  async read(tenant: string, part: SharedPart): Promise<Uint8Array> {
    const region = this.#part(tenant, part, part.byteSize);
    const bytes = new Uint8Array(part.byteSize);
    await this.#using(region, () => region.object.read(region.offset + part.offset, bytes));
    return bytes;
  }

  async write(tenant: string, part: SharedPart, bytes: Uint8Array): Promise<void> {
    if (bytes.byteLength > part.byteSize) {
      throw invalid(
        `the output has ${bytes.byteLength} bytes; the part of shared memory given for it has ${part.byteSize}`,
      );
    }
    const region = this.#part(tenant, part, bytes.byteLength);
    await this.#using(region, () => region.object.write(region.offset + part.offset, bytes));
  }

  /** Throws unless the part lies inside its region; before the run, so that no work is done for nothing. */
  check(tenant: string, part: SharedPart): void {
    this.#part(tenant, part, part.byteSize);
  }

  #checkRoom(tenant: string, name: string): void {
    const own = this.#regions.get(tenant);
    if (own?.has(name)) throw invalid("a region of this name is registered already");
    if (own && own.size >= maxRegions) throw invalid(`more than ${maxRegions} regions cannot be registered`);
  }

  #region(tenant: string, name: string): Region {
    const region = this.#regions.get(tenant)?.get(name);
    if (!region)
      throw new LongshoreError("unknown-region", "admission", "there is no such region of shared memory");
    return region;
  }

  #part(tenant: string, { region: name, offset }: SharedPart, byteSize: number): Region {
    const region = this.#region(tenant, name);
    if (offset + byteSize > region.byteSize) {
      throw invalid(`the part of shared memory does not lie inside its region of ${region.byteSize} bytes`);
    }
    return region;
  }

  async #using(region: Region, act: () => Promise<void>): Promise<void> {
    region.users += 1;
    try {
      await act();
    } finally {
      region.users -= 1;
      if (region.gone && region.users === 0) await region.object.close();
    }
  }
}
