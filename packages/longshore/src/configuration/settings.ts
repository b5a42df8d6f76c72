/**
 * The names in `longshore.yaml` of the options of `serve` and `gateway`, by section. Types, defaults and descriptions come from the
 * options themselves. A test checks that this table names each option once. The sections are also the groups of `--help`.
 */

/** A section of the file: a title for `--help`, its subject, and the option of each key. */
export interface Section {
  readonly title: string;
  readonly about: string;
  /** Keys of the file and the attributes of options, as commander names them. */
  readonly options: Readonly<Record<string, string>>;
}

const connection = (attribute: string): Readonly<Record<string, string>> => ({
  key: `${attribute}Key`,
  ca: `${attribute}Ca`,
  cert: `${attribute}Cert`,
  certKey: `${attribute}CertKey`,
});

const withPrefix = (prefix: string, options: Readonly<Record<string, string>>): Record<string, string> =>
  Object.fromEntries(
    Object.entries(options).map(([key, attribute]) => [
      `${prefix}${key.charAt(0).toUpperCase()}${key.slice(1)}`,
      attribute,
    ]),
  );

/** The sections, in the order of the file and of `--help`. */
export const sections: Readonly<Record<string, Section>> = {
  server: {
    title: "Server",
    about: "Identity of this server in the fleet.",
    options: { id: "id", tier: "tier", zone: "zone" },
  },
  listeners: {
    title: "Listeners",
    about: "Addresses, ports, TLS and limits of connections.",
    options: {
      host: "host",
      port: "port",
      grpcPort: "grpcPort",
      managePort: "managePort",
      manageHost: "manageHost",
      metricsPort: "metricsPort",
      metricsHost: "metricsHost",
      tlsCert: "tlsCert",
      tlsKey: "tlsKey",
      clientCa: "clientCa",
      clientCert: "clientCert",
      pages: "pages",
      maxBody: "maxBody",
      http: "http",
      maxConnections: "maxConnections",
      maxConnectionsPerAddress: "maxConnectionsPerAddress",
      probeConnections: "probeConnections",
      headersSeconds: "headersSeconds",
      requestSeconds: "requestSeconds",
      stallSeconds: "stallSeconds",
      replySeconds: "replySeconds",
      idleSeconds: "idleSeconds",
      grpcIdleSeconds: "grpcIdleSeconds",
      drainSeconds: "drainSeconds",
      lingerSeconds: "lingerSeconds",
    },
  },
  identity: {
    title: "Identity",
    about: "Senders and their rights.",
    options: {
      file: "identity",
      insecureNoIdentity: "insecureNoIdentity",
      allowManagement: "allowManagement",
    },
  },
  directory: {
    title: "Directory",
    about: "Where more endpoints are found, and where this server joins.",
    options: {
      from: "directory",
      ...connection("directory"),
      ...withPrefix("servers", connection("directoryServers")),
      operatorKeys: "operatorKeys",
      keep: "directoryKeep",
      hours: "directoryHours",
      join: "join",
      ...withPrefix("join", connection("join")),
      advertise: "advertise",
      entry: "entry",
      joins: "joins",
      joinsTrust: "joinsTrust",
      joinsKeep: "joinsKeep",
    },
  },
  forwarding: {
    title: "Forwarding",
    about: "How requests are sent to other endpoints and how their answers are checked.",
    options: {
      retries: "retries",
      beliefs: "beliefs",
      maxKept: "maxKept",
      holdSeconds: "holdSeconds",
      checkRatio: "checkRatio",
      golden: "golden",
      confirm: "confirm",
    },
  },
  prices: {
    title: "Prices",
    about: "Prices for callers of this server, in micros.",
    options: { perRequest: "pricePerRequest", perSecond: "pricePerSecond", perJoule: "pricePerJoule" },
  },
  policy: {
    title: "Policy",
    about: "Where data may go.",
    options: { dataClass: "dataClass", allowClasses: "allowClasses" },
  },
  models: {
    title: "Models",
    about: "The served models and how they run.",
    options: {
      control: "modelControl",
      pollSeconds: "pollSeconds",
      load: "loadModel",
      exitOnError: "exitOnError",
      runtime: "runtime",
      providers: "providers",
      workers: "workers",
      workerNiceness: "workerNiceness",
      queue: "queue",
      memory: "modelMemory",
      cacheSize: "cacheSize",
      batching: "batching",
      defaultMaxBatchSize: "defaultMaxBatchSize",
      cacheDir: "cacheDir",
      warmUp: "warmUp",
      gpuFallback: "gpuFallback",
      linkRoot: "linkRoot",
      rateLimit: "rateLimit",
      rateLimitResource: "rateLimitResource",
      sandboxMemory: "sandboxMemory",
      sandboxDeadline: "sandboxDeadline",
      maxSequences: "maxSequences",
      maxTenantSequences: "maxTenantSequences",
      stateKey: "stateKey",
      aliases: "aliases",
      uploads: "modelUploads",
      sharedMemory: "sharedMemory",
      forwardHeaders: "forwardHeaders",
    },
  },
  packages: {
    title: "Packages",
    about: "Models that are fetched from elsewhere.",
    options: {
      into: "packagesInto",
      from: "packagesFrom",
      names: "package",
      max: "packagesMax",
      ...connection("packages"),
    },
  },
  telemetry: {
    title: "Telemetry",
    about: "Log, and what an OpenTelemetry collector gets.",
    options: {
      logLevel: "logLevel",
      otlp: "otlp",
      otlpSignals: "otlpSignals",
      otlpInterval: "otlpInterval",
      traceRate: "traceRate",
    },
  },
};

/** Options about the servers of `--at`, for which the file has the list `endpoints`. */
export const endpointOptions: readonly string[] = [
  "at",
  "atKind",
  "atTrust",
  "atZone",
  "atTenants",
  "atMetrics",
  "atGrpc",
  "atPrice",
  "atKey",
  "atCa",
  "atCert",
  "atCertKey",
  "atOverPlainHttp",
];

/** Options that the command line alone has. */
export const commandOnly: readonly string[] = ["config", "json"];

/** The options that help lists first. */
export const commonOptions: readonly string[] = [
  "config",
  "host",
  "port",
  "at",
  "identity",
  "zone",
  "dataClass",
];
