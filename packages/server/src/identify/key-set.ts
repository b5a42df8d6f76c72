import { type Clock, LongshoreError } from "@longshore/core";
import { parseJson } from "@longshore/core/internal";
import { createLocalJWKSet, errors, type JSONWebKeySet, type JWK, type JWTVerifyGetKey } from "jose";

/**
 * The public keys of an issuer, kept while it turns them over and while it cannot be reached.
 *
 * A new key shows itself by a `kid` that is not known yet, so an unknown one makes the set fetch the issuer's keys again. Since
 * anyone can make up a `kid`, that happens at most once in `cooldownMs`. Keys older than `refreshMs` are refreshed beside the
 * request that noticed; when that fails they are used on until they are `keepMs` old, so that an outage of the issuer is not
 * one here, and a key that the issuer withdrew is not believed for ever.
 */
export interface KeySet {
  /** For `jwtVerify`. Throws `rejected` when there are no keys that may still be used. */
  readonly keyFor: JWTVerifyGetKey;
  /** Grows each time that other keys came. */
  readonly generation: number;
}

/** Times in milliseconds. */
export interface KeySetOptions {
  readonly refreshMs: number;
  readonly keepMs: number;
  readonly cooldownMs: number;
}

/** Reads the bytes of a key set. Has its own limits on size and time. */
export type LoadKeySet = () => Promise<Uint8Array>;

/** The most keys of a set. */
const maxKeys = 64;

/** Only public keys: an HMAC secret in a set would make every reader of it an issuer. */
function isPublic(key: unknown): key is JWK {
  if (typeof key !== "object" || key === null) return false;
  const { kty } = key as { kty?: unknown };
  return kty === "RSA" || kty === "EC" || kty === "OKP";
}

function parse(bytes: Uint8Array): JSONWebKeySet {
  const json = parseJson(bytes, "the set of keys");
  const keys: unknown = typeof json === "object" && json !== null && "keys" in json ? json.keys : undefined;
  if (!Array.isArray(keys) || keys.length > maxKeys) throw new TypeError("it is not a set of keys");
  const open = keys.filter(isPublic);
  if (open.length === 0 && keys.length > 0) throw new TypeError("it has no public key");
  // Where all that is left is for encryption, the last one for signatures was withdrawn.
  return { keys: open.filter(({ use }) => use === undefined || use === "sig") };
}

class IssuerKeys implements KeySet {
  readonly #clock: Clock;
  readonly #load: LoadKeySet;
  readonly #options: KeySetOptions;
  readonly #report: (text: string) => void;
  #keys: { readonly find: JWTVerifyGetKey; readonly atMs: number } | undefined;
  #triedMs = -Infinity;
  #loading: Promise<void> | undefined;
  generation = 0;

  constructor(clock: Clock, load: LoadKeySet, options: KeySetOptions, report: (text: string) => void) {
    this.#clock = clock;
    this.#load = load;
    this.#options = options;
    this.#report = report;
  }

  readonly keyFor: JWTVerifyGetKey = async (header, token) => {
    const find = await this.#current();
    try {
      return await find(header, token);
    } catch (thrown) {
      if (!(thrown instanceof errors.JWKSNoMatchingKey) || !(await this.#refresh())) throw thrown;
      return (await this.#current())(header, token);
    }
  };

  async #current(): Promise<JWTVerifyGetKey> {
    const ageMs = this.#clock.nowMs() - (this.#keys?.atMs ?? -Infinity);
    if (ageMs > this.#options.keepMs) await this.#refresh();
    else if (ageMs > this.#options.refreshMs) void this.#refresh();
    const keys = this.#keys;
    if (keys && this.#clock.nowMs() - keys.atMs <= this.#options.keepMs) return keys.find;
    throw new LongshoreError(
      "rejected",
      "identify",
      "tokens cannot be checked at the moment; try again later",
      {
        retryAfterMs: this.#options.cooldownMs,
      },
    );
  }

  /** Asks again, unless that was just done. Tells whether there is something new to look at. Never rejects. */
  async #refresh(): Promise<boolean> {
    const before = this.generation;
    if (!this.#loading) {
      const nowMs = this.#clock.nowMs();
      if (nowMs - this.#triedMs < this.#options.cooldownMs) return false;
      this.#triedMs = nowMs;
      this.#loading = this.#take().finally(() => {
        this.#loading = undefined;
      });
    }
    await this.#loading;
    return this.generation !== before;
  }

  async #take(): Promise<void> {
    try {
      const set = parse(await this.#load());
      // An issuer that withdrew its last key is not away: none of its tokens is good until it has another one.
      if (set.keys.length === 0) this.#report("a token issuer has no public key for signatures");
      this.#keys = { find: createLocalJWKSet(set), atMs: this.#clock.nowMs() };
      this.generation += 1;
    } catch (thrown) {
      const why = thrown instanceof Error ? thrown.message : String(thrown);
      this.#report(`the keys of a token issuer could not be read: ${why}`);
    }
  }
}

/** A set of keys that is read when the first token comes. `report` gets a line for each time that it cannot be read. */
export function createKeySet(
  clock: Clock,
  load: LoadKeySet,
  options: KeySetOptions,
  report: (text: string) => void,
): KeySet {
  return new IssuerKeys(clock, load, options, report);
}
