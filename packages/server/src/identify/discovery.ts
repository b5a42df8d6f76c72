import { parseJson, read } from "@longshore/core/internal";
import { keySetAddress } from "./fetch-key-set.ts";

/** Files for requests to a key server: the token that it asks for, and the authorities that sign its certificate. */
export interface KeySetAccess {
  /** File with a bearer token. */
  readonly bearer?: string | undefined;
  /** File with authorities in PEM. */
  readonly ca?: string | undefined;
}

/** Reads an address or file, with limits on size and time. */
export type ReadKeySet = (from: string, access: KeySetAccess) => Promise<Uint8Array>;

const path = "/.well-known/openid-configuration";

/**
 * The keys of an issuer that states no more than its name, by OpenID Connect Discovery 1.0: its document says where they are. The document
 * must name the very issuer, so that one issuer cannot hand out the keys of another, and the bearer token goes to the issuer's own server alone.
 * Both are read at each refresh. Rejects with what is wrong; no key counts then.
 */
export async function discoveredKeySet(
  issuer: string,
  access: KeySetAccess,
  load: ReadKeySet,
): Promise<Uint8Array> {
  const base = issuer.replace(/\/$/, "");
  const what = `the discovery document of ${issuer.slice(0, 200)}`;
  const document = read.objectAt(parseJson(await load(`${base}${path}`, access), what), what);
  const named = read.own(document, "issuer");
  if (named !== issuer) {
    throw new TypeError(
      `${what} is of another issuer: ${JSON.stringify(named)?.slice(0, 200) ?? "it names none"}`,
    );
  }
  const keys = read.own(document, "jwks_uri");
  if (typeof keys !== "string") throw new TypeError(`${what} has no jwks_uri`);
  const address = keySetAddress(keys);
  const own = new URL(issuer);
  if (own.protocol === "https:" && address.protocol !== "https:") {
    throw new TypeError(`${what} leads from https to ${address.protocol.slice(0, -1)}`);
  }
  const { bearer: _bearer, ...others } = access;
  return load(keys, address.origin === own.origin ? access : others);
}
