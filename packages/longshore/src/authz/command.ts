import { defaultWireLimits, type Handler, LongshoreError } from "@longshore/core";
import { externalAuthorization, listenGrpc } from "@longshore/grpc";
import { keepYoung, systemClock, systemRandom } from "@longshore/nodejs";
import { directSocket, LocalAllowances, type QuotaRules } from "@longshore/server";
import { openIdentity } from "../compose/identity.ts";
import { isLoopbackHost } from "../compose/listeners.ts";
import { readTextFile } from "../connect/read-text.ts";
import { type CommandIo, type ExitCode, logged, stopped } from "../options/io.ts";
import { hostAndPort } from "../pick/addresses.ts";
import { authzConfiguration } from "../pick/envoy.ts";
import { isEncrypted, type PickTlsOptions, pickTls } from "../pick/tls.ts";
import { requestChecker } from "./check-request.ts";
import { parseLimits } from "./limits.ts";

/** Options of `longshore authz`. */
export interface AuthzOptions extends PickTlsOptions {
  readonly identity: string;
  readonly limits?: string;
  readonly upstreamKey?: string;
  readonly dataClass?: string;
  readonly anyPath: boolean;
  readonly port: number;
  readonly drainSeconds: number;
  readonly printEnvoy: boolean;
  readonly envoyHost: string;
  readonly envoyPort: number;
  readonly to: readonly string[];
  readonly json: boolean;
}

/** A message is the headers of a request. */
const mostMessageBytes = 2 ** 20;

function upstreamsOf({ to }: AuthzOptions) {
  if (to.length === 0) {
    throw new LongshoreError(
      "invalid-input",
      "resolve",
      "--print-envoy needs --to URL: where requests go on",
    );
  }
  return to.map((address) => {
    const at = hostAndPort({ address });
    if (!at) {
      const why = `--to wants an address such as http://10.0.0.5:8000, not '${address.slice(0, 80)}'`;
      throw new LongshoreError("invalid-input", "resolve", why);
    }
    return { ...at, spill: false };
  });
}

async function keyIn(file: string | undefined): Promise<{ readonly upstreamKey?: string }> {
  if (file === undefined) return {};
  const key = (await readTextFile(file, "the credential of --upstream-key")).trim();
  if (/^[A-Za-z0-9._~+/-]+=*$/.test(key)) return { upstreamKey: key };
  throw new LongshoreError("invalid-input", "resolve", "--upstream-key wants a file with one key or token");
}

async function limitsIn(file: string | undefined): Promise<QuotaRules | undefined> {
  return file === undefined ? undefined : parseLimits(await readTextFile(file, "the limits"), file);
}

const health: Handler = async ({ path }) => ({
  status: path === "/v2/health/live" || path === "/v2/health/ready" ? 200 : 404,
  headers: {},
  body: { kind: "parts", parts: [] },
});

/** Checks requests for Envoy until SIGINT or SIGTERM; or prints Envoy's configuration. */
export async function authz(options: AuthzOptions, io: CommandIo): Promise<ExitCode> {
  const encrypted = isEncrypted(options);
  const { host, port, dataClass } = options;
  if (options.printEnvoy) {
    const text = authzConfiguration({
      host: options.envoyHost,
      port: options.envoyPort,
      endpoints: upstreamsOf(options),
      authz: { host, port, tls: encrypted },
    });
    io.out(text.trimEnd());
    return 0;
  }
  keepYoung();
  const [clock, random] = [systemClock(), systemRandom()];
  const rules = await limitsIn(options.limits);
  const key = await keyIn(options.upstreamKey);
  const tls = await pickTls(options, "longshore-authz");
  const identity = await openIdentity(options.identity, { clock, report: logged(io) });
  try {
    const checker = requestChecker({
      identify: identity.identify,
      ...(rules ? { allowances: new LocalAllowances(() => rules, clock) } : {}),
      ...(dataClass === undefined ? {} : { unstatedRules: { dataClass, leastTrust: "none" } }),
      ...key,
      anyPath: options.anyPath,
      clock,
      random,
    });
    const listening = await listenGrpc(health, {
      clock,
      random,
      host,
      port,
      directSocket,
      limits: { ...defaultWireLimits, maxBodyBytes: mostMessageBytes },
      services: [externalAuthorization(checker)],
      healthNames: { liveness: "/v2/health/live", readiness: "/v2/health/ready" },
      maxConcurrentCalls: 65_536,
      ...tls,
    });
    if (options.json) io.out(JSON.stringify({ listening: listening.address, tls: encrypted }));
    else io.out(`checking requests on ${listening.address} (${encrypted ? "TLS" : "no TLS"})`);
    if (!encrypted && !isLoopbackHost(host)) {
      logged(io)("credentials of clients travel to this port unencrypted");
    }
    await stopped(io);
    await listening.close(options.drainSeconds * 1000);
  } finally {
    identity.close();
  }
  return 0;
}
