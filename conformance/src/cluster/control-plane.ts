import { type ChildProcess, spawn } from "node:child_process";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import { once } from "node:events";
import { createWriteStream, existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type ControlPlane, must } from "../install/index.ts";
import { type Access, ClusterApi } from "./api.ts";

/** The address of the API server. Loopback addresses are refused in the API's objects. */
export const apiAddress = "192.0.2.1";
const apiPort = 6443;

/** A running control plane: store, API server and controllers. There is no scheduler and no kubelet. */
export interface RunningControlPlane {
  readonly api: ClusterApi;
  readonly kubeconfig: string;
  /** The issuer of tokens of service accounts. */
  readonly issuer: string;
  /** File with the certificate of the API server, which signs itself. */
  readonly caFile: string;
  /** Writes a kubeconfig for another token. */
  kubeconfigFor(token: string, file: string): Promise<void>;
  /** Ends the API server without a word, and starts it again. */
  restartApiServer(): Promise<void>;
  close(): Promise<void>;
}

class Program {
  readonly #path: string;
  readonly #args: readonly string[];
  readonly #log: string;
  #child: ChildProcess | undefined;

  constructor(path: string, args: readonly string[], log: string) {
    this.#path = path;
    this.#args = args;
    this.#log = log;
  }

  start(): void {
    const child = spawn(this.#path, this.#args, { stdio: ["ignore", "pipe", "pipe"] });
    const log = createWriteStream(this.#log, { flags: "a" });
    child.stdout.pipe(log, { end: false });
    child.stderr.pipe(log, { end: false });
    this.#child = child;
  }

  async end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill(signal);
    await gone;
  }
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

async function untilReady(what: string, isReady: () => Promise<boolean>): Promise<void> {
  const untilMs = performance.now() + 300_000;
  while (!(await isReady().catch(() => false))) {
    if (performance.now() > untilMs) throw new Error(`${what} was not ready in five minutes`);
    await pause(100);
  }
}

/** The authority of the aggregator's certificate, and that certificate, which it shows to servers of other parts of the API. */
async function aggregatorCertificates(at: (name: string) => string): Promise<void> {
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
  const authority = ["-keyout", at("aggregator-ca.key"), "-out", at("aggregator-ca.crt")];
  await must("openssl", ["req", "-x509", ...key, "-subj", "/CN=aggregator-ca", ...authority]);
  const own = ["-keyout", at("aggregator.key"), "-out", at("aggregator.crt")];
  const by = ["-CA", at("aggregator-ca.crt"), "-CAkey", at("aggregator-ca.key")];
  const use = ["-addext", "extendedKeyUsage=clientAuth", "-addext", "basicConstraints=critical,CA:FALSE"];
  await must("openssl", ["req", "-x509", ...key, "-subj", "/CN=aggregator", ...by, ...use, ...own]);
}

/** Starts it on `apiAddress`, which an interface must have. */
export async function startControlPlane(
  programs: ControlPlane,
  folder: string,
): Promise<RunningControlPlane> {
  await mkdir(folder, { recursive: true });
  const at = (name: string): string => join(folder, name);
  const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  await writeFile(at("accounts.key"), privateKey.export({ type: "pkcs1", format: "pem" }));
  await writeFile(at("accounts.pub"), publicKey.export({ type: "spki", format: "pem" }));
  const token = randomUUID();
  await writeFile(at("tokens.csv"), `${token},admin,admin,"system:masters"\n`);
  const caFile = at("apiserver.crt");

  const kubeconfigFor = async (bearer: string, file: string): Promise<void> => {
    const cluster = { server: `https://${apiAddress}:${apiPort}`, "certificate-authority": caFile };
    const config = {
      apiVersion: "v1",
      kind: "Config",
      clusters: [{ name: "here", cluster }],
      users: [{ name: "me", user: { token: bearer } }],
      contexts: [{ name: "here", context: { cluster: "here", user: "me" } }],
      "current-context": "here",
    };
    await writeFile(file, JSON.stringify(config));
  };
  await aggregatorCertificates(at);
  const issuer = `https://${apiAddress}:${apiPort}`;
  const kubeconfig = at("kubeconfig");
  await kubeconfigFor(token, kubeconfig);

  const store = new Program(
    programs.etcd,
    [
      `--data-dir=${at("etcd")}`,
      "--listen-client-urls=http://127.0.0.1:2379",
      "--advertise-client-urls=http://127.0.0.1:2379",
      "--listen-peer-urls=http://127.0.0.1:2380",
      "--unsafe-no-fsync",
    ],
    at("etcd.log"),
  );
  const apiServer = new Program(
    programs.apiServer,
    [
      "--etcd-servers=http://127.0.0.1:2379",
      `--bind-address=${apiAddress}`,
      `--advertise-address=${apiAddress}`,
      `--secure-port=${apiPort}`,
      `--cert-dir=${folder}`,
      `--token-auth-file=${at("tokens.csv")}`,
      "--authorization-mode=RBAC",
      `--service-account-key-file=${at("accounts.pub")}`,
      `--service-account-signing-key-file=${at("accounts.key")}`,
      `--service-account-issuer=${issuer}`,
      `--service-account-jwks-uri=${issuer}/openid/v1/jwks`,
      "--service-cluster-ip-range=10.96.0.0/24",
      // The aggregator reaches a service by its endpoints, as there is no service network.
      "--enable-aggregator-routing=true",
      `--proxy-client-cert-file=${at("aggregator.crt")}`,
      `--proxy-client-key-file=${at("aggregator.key")}`,
      `--requestheader-client-ca-file=${at("aggregator-ca.crt")}`,
      "--requestheader-allowed-names=aggregator",
      "--requestheader-username-headers=X-Remote-User",
      "--requestheader-group-headers=X-Remote-Group",
      "--requestheader-extra-headers-prefix=X-Remote-Extra-",
    ],
    at("api-server.log"),
  );
  const controllers = new Program(
    programs.controllerManager,
    [
      `--kubeconfig=${kubeconfig}`,
      `--service-account-private-key-file=${at("accounts.key")}`,
      `--root-ca-file=${caFile}`,
      "--leader-elect=false",
      "--bind-address=127.0.0.1",
      "--horizontal-pod-autoscaler-sync-period=2s",
      // There is no kubelet that would renew leases of nodes.
      "--controllers=*,-node-lifecycle-controller,-pod-garbage-collector-controller",
    ],
    at("controller-manager.log"),
  );

  store.start();
  apiServer.start();
  await untilReady("the certificate of the API server", () => Promise.resolve(existsSync(caFile)));
  const access: Access = { host: apiAddress, port: apiPort, caFile, token };
  let api: ClusterApi | undefined;
  const apiReady = (): Promise<void> =>
    untilReady("the API server", async () => {
      api ??= new ClusterApi(access);
      return (await api.ask<string>("GET", "/readyz")) === "ok";
    });
  await apiReady();
  if (api === undefined) throw new Error("unreachable");
  controllers.start();
  return {
    api,
    kubeconfig,
    issuer,
    caFile,
    kubeconfigFor,
    async restartApiServer() {
      await apiServer.end("SIGKILL");
      await pause(2000);
      apiServer.start();
      await apiReady();
    },
    async close() {
      api?.close();
      await controllers.end("SIGKILL");
      await apiServer.end("SIGKILL");
      await store.end("SIGKILL");
    },
  };
}
