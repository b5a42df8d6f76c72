import { type Clock, LongshoreError } from "@longshore/core";
import { dropOldest } from "@longshore/core/internal";
import { decodeJwt, jwtVerify, type JWTPayload } from "jose";
import * as v from "valibot";
import { type ClaimMapping, grantOf, mappingEntries } from "./claims.ts";
import { discoveredKeySet, type KeySetAccess, type ReadKeySet } from "./discovery.ts";
import { isKeySetAddress } from "./fetch-key-set.ts";
import type { Grant } from "./grant.ts";
import { createKeySet, type KeySet, type LoadKeySet } from "./key-set.ts";
import { badCredential } from "./refusal.ts";
import { withMeaning, durationKey, strictKeys, wordKey } from "./schema.ts";

/**
 * Signatures that only the holder of a private key can make. `none` and the HMACs are not among them and cannot be configured:
 * with an HMAC every checker of a token can make one, and with a public key as its secret everyone can.
 */
const algorithms = [
  "ES256",
  "ES384",
  "ES512",
  "PS256",
  "PS384",
  "PS512",
  "RS256",
  "RS384",
  "RS512",
  "EdDSA",
] as const;

type Algorithm = (typeof algorithms)[number];

/** Where an issuer's public keys are, and how long they are believed. Times in milliseconds. */
interface KeySetRule extends KeySetAccess {
  /** An https address, or a file beside `identity.yaml`. Default: found in the issuer's discovery document. */
  readonly from?: string | undefined;
  readonly refreshMs?: number | undefined;
  readonly keepMs?: number | undefined;
  readonly cooldownMs?: number | undefined;
}

/** An operator's rule for one issuer of tokens. */
export interface IssuerRule extends ClaimMapping {
  /** Exactly the `iss` of its tokens. */
  readonly issuer: string;
  /** One of these has to be in a token's `aud`. */
  readonly audience: string | readonly string[];
  /** Default: found in the issuer's discovery document. */
  readonly keySet?: string | KeySetRule | undefined;
  readonly algorithms?: readonly Algorithm[] | undefined;
  /** The `typ` that tokens must have, such as `at+jwt`; undefined for any. */
  readonly type?: string | undefined;
  /** Default 30,000. */
  readonly clockSkewMs?: number | undefined;
  /** Since `iat`, which a token then must have. */
  readonly maxAgeMs?: number | undefined;
}

const keySetSource = v.union([
  wordKey,
  strictKeys({
    from: v.optional(
      withMeaning("Address or file. Default: as the issuer's discovery document says.", wordKey),
    ),
    bearer: v.optional(
      withMeaning(
        "File with a token that the issuer's server wants, read each time and shown to no other.",
        wordKey,
      ),
    ),
    ca: v.optional(
      withMeaning("File of authorities (PEM) that sign the issuer's server. Default: the system's.", wordKey),
    ),
    refreshMs: v.optional(
      withMeaning("Time between reads. Default: 600,000, of a file 10,000.", durationKey(1000)),
    ),
    keepMs: v.optional(
      withMeaning("How long keys count while the issuer is away. Default: 86,400,000.", durationKey(1000)),
    ),
    cooldownMs: v.optional(
      withMeaning(
        "Least time between reads for an unknown key. Default: 30,000, of a file 1,000.",
        durationKey(100),
      ),
    ),
  }),
]);

/** A line of `tokens:` in `identity.yaml`. */
export const issuerSchema: v.GenericSchema<IssuerRule> = v.pipe(
  strictKeys({
    issuer: withMeaning("Exactly the token's `iss`.", wordKey),
    audience: withMeaning(
      "One of these must be in `aud`.",
      v.union([wordKey, v.pipe(v.array(wordKey), v.minLength(1))]),
    ),
    keySet: v.optional(
      withMeaning(
        "Address or file of the key set. Default: as `<issuer>/.well-known/openid-configuration` says.",
        keySetSource,
      ),
    ),
    algorithms: v.optional(
      withMeaning(
        "Accepted algorithms. Default: all.",
        v.pipe(
          v.array(v.picklist(algorithms, `must be one of ${algorithms.join(", ")}`)),
          v.minLength(1, "must name at least one"),
        ),
      ),
    ),
    type: v.optional(withMeaning("Required `typ`. Default: any.", wordKey)),
    clockSkewMs: v.optional(
      withMeaning(
        "Allowed difference of clocks. Default: 30,000.",
        v.pipe(v.number(), v.integer(), v.minValue(0), v.maxValue(300_000)),
      ),
    ),
    maxAgeMs: v.optional(withMeaning("Longest time since `iat`. Default: none.", durationKey(1000))),
    ...mappingEntries,
  }),
  v.check(
    ({ subjects, tenant, rights }) =>
      subjects === undefined
        ? tenant !== undefined && rights !== undefined
        : tenant === undefined && rights === undefined,
    "must have either 'tenant' and 'rights', or 'subjects'",
  ),
  v.check(
    ({ issuer, keySet }) =>
      (typeof keySet === "string" ? keySet : keySet?.from) !== undefined || isKeySetAddress(issuer),
    "without keySet.from, 'issuer' must be an https address: its discovery document says where the keys are",
  ),
  v.check(({ keySet }) => {
    if (keySet === undefined || typeof keySet === "string") return true;
    const { from, bearer, ca } = keySet;
    return (bearer === undefined && ca === undefined) || from === undefined || /^https?:/.test(from);
  }, "keySet.bearer and keySet.ca are for an address, and keySet.from is a file"),
);

/** The parts that check tokens. */
export interface TokenParts {
  readonly clock: Clock;
  /** Reads a key set, or a discovery document, from an address or file. */
  readonly loadKeySet: ReadKeySet;
  /** Gets a line for what the operator should know. */
  readonly report: (text: string) => void;
  /** SHA-256 of a text, as any text. Default: WebCrypto's; a platform that hashes at once can bring its own. */
  readonly digest?: ((text: string) => string | Promise<string>) | undefined;
}

interface Issuer {
  readonly rules: IssuerRule;
  readonly keys: KeySet;
}

/** Read again after so long: ten minutes for an address, ten seconds for a file, which costs nothing. */
function keySetOf({ issuer, keySet = {} }: IssuerRule, parts: TokenParts): KeySet {
  const given: KeySetRule = typeof keySet === "string" ? { from: keySet } : keySet;
  const { from } = given;
  const remote = from === undefined || /^https?:/.test(from);
  const load: LoadKeySet = () =>
    from === undefined ? discoveredKeySet(issuer, given, parts.loadKeySet) : parts.loadKeySet(from, given);
  const options = {
    refreshMs: given.refreshMs ?? (remote ? 600_000 : 10_000),
    keepMs: given.keepMs ?? 86_400_000,
    cooldownMs: given.cooldownMs ?? (remote ? 30_000 : 1000),
  };
  return createKeySet(parts.clock, load, options, parts.report);
}

function unverifiedIssuer(token: string): string | undefined {
  try {
    return decodeJwt(token).iss;
  } catch {
    // Not a token at all; its defects need not be told apart.
    return undefined;
  }
}

async function claimsOf(token: string, { rules, keys }: Issuer, clock: Clock): Promise<JWTPayload> {
  const skewMs = rules.clockSkewMs ?? 30_000;
  const { payload } = await jwtVerify(token, keys.keyFor, {
    algorithms: [...(rules.algorithms ?? algorithms)],
    issuer: rules.issuer,
    audience: typeof rules.audience === "string" ? rules.audience : [...rules.audience],
    clockTolerance: skewMs / 1000,
    currentDate: new Date(clock.wallMs()),
    requiredClaims: ["exp"],
    ...(rules.type === undefined ? {} : { typ: rules.type }),
    ...(rules.maxAgeMs === undefined ? {} : { maxTokenAge: rules.maxAgeMs / 1000 }),
  });
  if (payload.iat !== undefined && payload.iat * 1000 > clock.wallMs() + skewMs) {
    throw new TypeError("it was issued in the future");
  }
  return payload;
}

/** How long a good token is remembered, so that a signature is not checked for every request of one sender. */
const rememberedMs = 60_000;
/** The most tokens that are remembered. */
const maxRemembered = 4096;

interface Remembered {
  readonly grant: Grant;
  readonly untilMs: number;
  readonly generation: number;
}

async function webDigest(text: string): Promise<string> {
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(text)));
  return [...digest].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

/** Tokens by their SHA-256: a reader of the memory learns no token. */
class TokenMemory {
  readonly #clock: Clock;
  readonly #known = new Map<string, Remembered>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Forgotten when it expires, and when the issuer's keys changed. */
  find(name: string, generation: number): Grant | undefined {
    const found = this.#known.get(name);
    if (!found) return undefined;
    if (this.#clock.wallMs() < found.untilMs && found.generation === generation) return found.grant;
    this.#known.delete(name);
    return undefined;
  }

  keep(name: string, grant: Grant, expiresMs: number, generation: number): void {
    const untilMs = Math.min(expiresMs, this.#clock.wallMs() + rememberedMs);
    this.#known.set(name, { grant, untilMs, generation });
    dropOldest(this.#known, maxRemembered);
  }
}

/**
 * Identifies senders with a signed token of an issuer that the operator named. Algorithm, key, issuer, audience and times are
 * held to the issuer's rules; the addresses that a token names for its keys (`jku`, `x5u`, `jwk`) are ignored.
 *
 * @param before Called before a signature is checked, which is the expensive part: throws to have it left undone.
 */
export function tokenMechanism(
  rules: readonly IssuerRule[],
  parts: TokenParts,
): (token: string, before: () => void) => Promise<Grant> {
  const issuers = new Map<string, Issuer>(
    rules.map((one) => [one.issuer, { rules: one, keys: keySetOf(one, parts) }]),
  );
  const memory = new TokenMemory(parts.clock);
  const digest = parts.digest ?? webDigest;
  return async (token, before) => {
    const issuer = issuers.get(unverifiedIssuer(token) ?? "");
    if (!issuer) throw badCredential("token", "it is no token of an issuer that is known here");
    const name = await digest(token);
    const known = memory.find(name, issuer.keys.generation);
    if (known) return known;
    before();
    const { generation } = issuer.keys;
    let claims: JWTPayload;
    try {
      claims = await claimsOf(token, issuer, parts.clock);
    } catch (thrown) {
      if (LongshoreError.is(thrown)) throw thrown;
      throw badCredential("token", thrown instanceof Error ? thrown.message : String(thrown));
    }
    const grant = grantOf(claims, issuer.rules);
    // Keys that changed meanwhile may not be the ones that this was checked with.
    if (generation === issuer.keys.generation) memory.keep(name, grant, (claims.exp ?? 0) * 1000, generation);
    return grant;
  };
}
