import { generateKeyPairSync } from "node:crypto";
import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import { pathToFileURL } from "node:url";
import { openIdProvider } from "../install/index.ts";
import { freePort } from "./process.ts";

const secret = "a secret of this test";

/** The part of the package that is used here; it has no types of its own. */
interface ProviderModule {
  readonly default: new (
    issuer: string,
    configuration: object,
  ) => { callback(): RequestListener; proxy: boolean };
}

/** A private key as a JWK. */
export type Key = Readonly<Record<string, unknown>>;

/** Makes a key that signs tokens. */
export function newKey(kid: string): Key {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return { ...privateKey.export({ format: "jwk" }), kid, use: "sig", alg: "ES256" };
}

function configurationOf(keys: readonly Key[]): object {
  const client = (id: string): object => ({
    client_id: id,
    client_secret: secret,
    grant_types: ["client_credentials"],
    redirect_uris: [],
    response_types: [],
    id_token_signed_response_alg: "ES256",
  });
  return {
    jwks: { keys },
    clients: [client("till"), client("stranger")],
    scopes: ["infer", "observe"],
    features: {
      devInteractions: { enabled: false },
      clientCredentials: { enabled: true },
      resourceIndicators: {
        enabled: true,
        getResourceServerInfo: (_context: unknown, resource: string) => ({
          scope: "infer observe",
          audience: resource.split(":")[1],
          accessTokenTTL: resource.endsWith(":brief") ? 1 : 600,
          accessTokenFormat: "jwt",
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
  };
}

/** A real OpenID Provider (`oidc-provider`) whose keys can change while it listens. */
export class Issuer {
  readonly #module: ProviderModule;
  readonly #port: number;
  readonly issuer: string;
  #answer: RequestListener;
  #server: Server | undefined;

  private constructor(module: ProviderModule, port: number, keys: readonly Key[]) {
    this.#module = module;
    this.#port = port;
    this.issuer = `http://127.0.0.1:${port}`;
    this.#answer = this.#with(keys);
  }

  static async start(keys: readonly Key[]): Promise<Issuer> {
    const file = await openIdProvider();
    // The module is of that package and version; what is used of it is stated above.
    const module = (await import(pathToFileURL(file).href)) as ProviderModule;
    const issuer = new Issuer(module, await freePort(), keys);
    const server = createServer((request, response) => issuer.#answer(request, response));
    server.listen(issuer.#port, "127.0.0.1");
    await once(server, "listening");
    issuer.#server = server;
    return issuer;
  }

  #with(keys: readonly Key[]): RequestListener {
    const Provider = this.#module.default;
    return new Provider(this.issuer, configurationOf(keys)).callback();
  }

  /** The first key signs from now on. */
  rotate(keys: readonly Key[]): void {
    this.#answer = this.#with(keys);
  }

  /** A token by client credentials. A resource `urn:NAME[:brief]` is for the audience NAME. */
  async token(client: string, scope: string, resource = "urn:longshore"): Promise<string> {
    const reply = await fetch(`${this.issuer}/token`, {
      method: "POST",
      headers: { authorization: `Basic ${btoa(`${client}:${encodeURIComponent(secret)}`)}` },
      body: new URLSearchParams({ grant_type: "client_credentials", scope, resource }),
    });
    const { access_token: token, ...others } = (await reply.json()) as { readonly access_token?: string };
    if (token === undefined) throw new Error(`no token: ${JSON.stringify(others)}`);
    return token;
  }

  async close(): Promise<void> {
    this.#server?.closeAllConnections();
    this.#server?.close();
  }
}

/** A token whose claims were changed after it was signed. */
export function forged(token: string): string {
  const [header = "", payload = "", signature = ""] = token.split(".");
  const claims = JSON.parse(Buffer.from(payload, "base64url").toString()) as object;
  const changed = Buffer.from(JSON.stringify({ ...claims, client_id: "owner" })).toString("base64url");
  return [header, changed, signature].join(".");
}
