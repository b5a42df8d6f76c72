import { type Clock, LongshoreError, type Random, type RecordSource } from "@longshore/core";
import type { ServerOptions } from "./dial.ts";

/** What `@longshore/nats` offers, as far as a directory uses it; the package is found at run time, never required. */
export interface NatsPackage {
  natsSource(options: {
    readonly connection: {
      readonly servers: readonly string[];
      readonly token?: string;
      readonly tls?: Readonly<Record<string, string>> | null;
    };
    readonly bucket?: string;
    readonly clock: Clock;
    readonly random: Random;
  }): RecordSource;
}

/** `nats:host:port`, several with commas between, and the bucket behind a slash. */
interface NatsPlace {
  readonly servers: readonly string[];
  readonly bucket?: string;
}

const form = "nats:HOST[:PORT][,HOST[:PORT]...][/BUCKET]";

function placeOf(from: string): NatsPlace {
  const [, hosts = "", bucket] = /^nats:(?:\/\/)?([^/]*)(?:\/(.*))?$/.exec(from) ?? [];
  const servers = hosts.split(",");
  const named = servers.every((one) =>
    /^(?:[A-Za-z0-9._-]{1,253}|\[[0-9a-fA-F:]+\])(?::\d{1,5})?$/.test(one),
  );
  if (!named || (bucket !== undefined && !/^[A-Za-z0-9_-]{1,256}$/.test(bucket))) {
    // Not the text itself: people write passwords into addresses.
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `a directory in NATS is ${form}, without user and password: a token goes into the file of --at-key`,
    );
  }
  return { servers, ...(bucket === undefined ? {} : { bucket }) };
}

// The name is not a literal where it is imported, so that neither compilers nor bundlers make it a dependency.
const packageName: string = ["@longshore", "nats"].join("/");

async function packageOf(find: (name: string) => Promise<NatsPackage>): Promise<NatsPackage> {
  try {
    return await find(packageName);
  } catch (thrown) {
    if (!(thrown instanceof Error && "code" in thrown && thrown.code === "ERR_MODULE_NOT_FOUND"))
      throw thrown;
    // It may be there and lack something itself, which no installing of it mends.
    const [, missing = packageName] = /Cannot find (?:package|module) '([^']+)'/.exec(thrown.message) ?? [];
    const needs =
      missing === packageName
        ? `${packageName}, which is not installed here: npm install ${packageName}`
        : `${packageName}, which is here but lacks ${missing.split(/[\\/]/).slice(-3).join("/")}: install its dependencies`;
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `a directory in NATS needs the package ${needs}`,
      {
        cause: thrown,
      },
    );
  }
}

/** What of a server's credentials NATS knows. */
function shown({ credentials, tls }: Pick<ServerOptions, "credentials" | "tls">): object {
  if (credentials && !("bearer" in credentials && typeof credentials.bearer === "string")) {
    throw new LongshoreError("invalid-configuration", "resolve", "NATS is shown a token that is a text");
  }
  const { authorities, certificate, key, serverName } = tls ?? {};
  return {
    ...(credentials && "bearer" in credentials ? { token: credentials.bearer } : {}),
    ...(tls
      ? {
          tls: {
            ...(authorities === undefined ? {} : { ca: authorities }),
            ...(certificate === undefined ? {} : { cert: certificate }),
            ...(key === undefined ? {} : { key }),
            // Taken by the sockets below, although the client's types do not name it.
            ...(serverName === undefined ? {} : { servername: serverName }),
          },
        }
      : {}),
  };
}

/**
 * A directory in a bucket of NATS, by the package that reads it. Throws `invalid-configuration` for an address that is none,
 * and where the package is not installed.
 */
export async function natsDirectory(
  from: string,
  options: Pick<ServerOptions, "credentials" | "tls">,
  parts: { readonly clock: Clock; readonly random: Random },
  find: (name: string) => Promise<NatsPackage> = async (name) => (await import(name)) as NatsPackage,
): Promise<RecordSource> {
  const { servers, bucket } = placeOf(from);
  const connection = { servers, ...shown(options) };
  const { natsSource } = await packageOf(find);
  const { clock, random } = parts;
  return natsSource({ connection, clock, random, ...(bucket === undefined ? {} : { bucket }) });
}
