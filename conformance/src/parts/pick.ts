import { once } from "node:events";
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { createServer, request } from "node:http";
import { connect } from "node:http2";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { fakeApiServer, kubeconfigOf, testPaths, testPod, testPool } from "@longshore/testkit/kubernetes-api";
import { run, tritonClient } from "../install/index.ts";
import { writeRepository } from "../models.ts";
import {
  command,
  forged,
  freePort,
  Issuer,
  newKey,
  type PickedEnvoy,
  type RunningPeer,
  startEnvoy,
  startEnvoyOn,
  startOwn,
  startPickedEnvoy,
  startPicker,
  startReporting,
} from "../servers/index.ts";
import { asked, inFolder, lastWords, type Open, type Part, type PartContext } from "./part.ts";

/** The servers that the checks share: two in different zones, and a directory of both. */
interface Fleet {
  readonly folder: string;
  readonly servers: Readonly<Record<"eu" | "us", RunningPeer>>;
  readonly directory: string;
}

interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
  /** Of an error. */
  readonly reason: string | undefined;
}

const values = Array.from({ length: 16 }, () => 1);
const body = JSON.stringify({
  inputs: ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data: values })),
});
const path = "/v2/models/simple/infer";

function rules(zones?: string): Record<string, string> {
  return {
    "longshore-rules": `class=internal;trust=none${zones === undefined ? "" : `;zones=${zones}`}`,
  };
}

async function infer(
  http: string,
  headers: Record<string, string> = {},
  where: string = path,
): Promise<Reply> {
  const reply = await fetch(`http://${http}${where}`, {
    method: "POST",
    body,
    headers: { "content-type": "application/json", ...headers },
    signal: AbortSignal.timeout(60_000),
  });
  const text = await reply.text();
  const [, reason] = /"reason":"([a-z-]+)"/.exec(text) ?? [];
  return { status: reply.status, headers: reply.headers, text, reason };
}

/** Inferences that a server has answered. */
async function answered({ http }: RunningPeer): Promise<number> {
  const text = await (await fetch(`http://${http}/metrics`)).text();
  const lines = text.split("\n").filter((line) => line.startsWith("nv_inference_request_success{"));
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(" ") + 1)), 0);
}

/** By how much each server's count rises while something is done. */
async function during({ servers }: Fleet, work: () => Promise<void>) {
  const before = { eu: await answered(servers.eu), us: await answered(servers.us) };
  await work();
  return { eu: (await answered(servers.eu)) - before.eu, us: (await answered(servers.us)) - before.us };
}

function expectThat(holds: boolean, told: string): void {
  if (!holds) throw new Error(told);
}

function expectReply({ status, reason, text }: Reply, wanted: number, why?: string): void {
  expectThat(
    status === wanted && (why === undefined || reason === why),
    `${status} ${reason ?? ""} instead of ${wanted} ${why ?? ""}: ${text.slice(0, 300)}`,
  );
}

const listed = (fleet: Fleet): readonly string[] => [
  "--directory",
  fleet.directory,
  "--data-class",
  "internal",
];

const countScript = fileURLToPath(new URL("../../python/grpc_count.py", import.meta.url));
const grpcScript = fileURLToPath(new URL("../../python/pick_grpc.py", import.meta.url));

/** Runs Triton's client over gRPC. Throws what it says. */
async function grpcClient(http: string, mode: string): Promise<void> {
  const client = await tritonClient();
  const { code, out, err } = await run(client.python, [grpcScript, http, mode], { timeoutMs: 300_000 });
  if (code !== 0) throw new Error(`Triton's client over gRPC, ${mode}: ${lastWords(out, err)}`);
}

/**
 * Starts pickers and their Envoy, which are closed after the check. A picker may begin before each server has described its models, and
 * refuses requests until then, so this waits until every picker has sent requests to each of the servers.
 */
async function started(
  fleet: Fleet,
  open: Open[],
  more: Omit<Partial<Parameters<typeof startPickedEnvoy>[0]>, "folder"> & {
    /** Zones of its servers. Default: both. */
    readonly zones?: readonly ("eu" | "us")[];
  } = {},
): Promise<PickedEnvoy> {
  const { zones = ["eu", "us"], ...options } = more;
  const running = await startPickedEnvoy({ args: listed(fleet), folder: fleet.folder, ...options });
  open.push(running);
  for (const zone of zones) {
    // Envoy asks its pickers in turns.
    let row = 0;
    const last = await eventually(
      async () => {
        const reply = await infer(running.http, rules(zone));
        row = reply.status === 200 ? row + 1 : 0;
        return reply;
      },
      () => row > (options.pickers ?? 1),
    );
    expectReply(last, 200);
  }
  return running;
}

/** A check may take longer than Envoy waits where other parts keep the processor busy. */
const patient = (yaml: string): string => yaml.replaceAll(/timeout: "[12]s"/g, 'timeout: "60s"');

/** Files of identity and limits, and a key of each tenant. */
async function authzFiles({ folder }: Fleet) {
  const file = join(folder, "keys.json");
  const add = async (tenant: string): Promise<string> => {
    const adding = ["keys", "add", "--file", file, "--tenant", tenant, "--right", "infer"];
    const { code, out, err } = await run(process.execPath, [command, ...adding]);
    if (code !== 0) throw new Error(`longshore keys add: ${lastWords(err)}`);
    return out.trim();
  };
  const keys = { acme: await add("acme"), slow: await add("slow") };
  const identity = join(folder, "identity.yaml");
  await writeFile(identity, "keys: { file: keys.json }\n");
  const limits = join(folder, "limits.yaml");
  await writeFile(limits, "tenants: { slow: { requestsPerSecond: 0.01 } }\n");
  const own = join(folder, "upstream.key");
  await writeFile(own, "upstream-key\n");
  const args = ["--limits", limits, "--upstream-key", own, "--data-class", "internal"];
  return { identity, keys, args };
}

/** `longshore authz` before an Envoy of its own, whose server keeps the headers that reach it. */
async function startAuthz(
  { folder }: Fleet,
  open: Open[],
  name: string,
  args: readonly string[],
): Promise<{
  readonly http: string;
  readonly port: number;
  readonly checker: ReturnType<typeof startPicker>;
  readonly seen: Record<string, string | string[] | undefined>[];
}> {
  const seen: Record<string, string | string[] | undefined>[] = [];
  const upstream = createServer((asked, reply) => {
    seen.push(asked.headers);
    asked.resume();
    reply.end("{}");
  }).listen(0, "127.0.0.1");
  await once(upstream, "listening");
  open.push({
    close: () => {
      upstream.closeAllConnections();
      return new Promise((resolve) => upstream.close(resolve));
    },
  });
  const port = await freePort();
  const own = ["authz", "--port", `${port}`, ...args];
  const envoyPort = await freePort();
  const to = `http://127.0.0.1:${(upstream.address() as AddressInfo).port}`;
  const printing = [command, ...own, "--print-envoy", "--to", to, "--envoy-port", `${envoyPort}`];
  const printed = await run(process.execPath, printing);
  expectThat(printed.code === 0, `longshore authz --print-envoy: ${lastWords(printed.err)}`);
  const file = join(folder, `${name}.yaml`);
  await writeFile(file, patient(printed.out));
  const checker = startPicker([command, ...own, "--json"], {});
  open.push({ close: () => checker.end("SIGTERM") });
  await checker.listening;
  const front = await startEnvoyOn({ file, port: envoyPort });
  open.push(front);
  return { http: front.http, port, checker, seen };
}

const hugeBytes = 2 ** 30;

/** The most memory that a process had, in megabytes. */
async function peakMegabytes(pid: number): Promise<number> {
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB/m.exec(await readFile(`/proc/${pid}/status`, "utf8")) ?? [];
  return Math.round(Number(kilobytes) / 1024);
}

/** A foreign server that counts the bytes of an inference. */
async function startSwallowing() {
  let isSilent = false;
  const server = createServer((asked, reply) => {
    const answer = (value: object): void => {
      reply.writeHead(200, { "content-type": "application/json" });
      reply.end(JSON.stringify(value));
    };
    const tensor = { datatype: "INT32", shape: [-1, 16] };
    const named = (name: string): object => ({ name, ...tensor });
    if (asked.method === "POST" && asked.url?.endsWith("/infer") === true) {
      let bytes = 0;
      asked.on("data", (chunk: Buffer) => (bytes += chunk.byteLength));
      asked.on("end", () => isSilent || answer({ bytes }));
      return;
    }
    asked.resume();
    answer({
      name: "simple",
      versions: ["1"],
      platform: "onnxruntime_onnx",
      extensions: [],
      inputs: [named("INPUT0"), named("INPUT1")],
      outputs: [named("OUTPUT0")],
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    http: `127.0.0.1:${(server.address() as AddressInfo).port}`,
    silence: () => void (isSilent = true),
    speak: () => void (isSilent = false),
    close(): Promise<void> {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(() => resolve()));
    },
  };
}

/** Sends a body of this many bytes; returns the status and the bytes that the server has counted. */
function sendBody(http: string, byteLength: number): Promise<string> {
  const [host = "", port = ""] = http.split(":");
  const chunk = Buffer.alloc(65_536);
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "content-length": `${byteLength}`, ...rules() };
    const sent = request({ host, port, path, method: "POST", headers }, (reply) => {
      let text = "";
      reply.setEncoding("utf8");
      reply.on("data", (part: string) => (text += part));
      reply.on("end", () => resolve(`${reply.statusCode} ${/"bytes":(\d+)/.exec(text)?.[1] ?? text}`));
    });
    sent.on("error", reject);
    let left = byteLength;
    const write = (): void => {
      while (left > 0) {
        const part = chunk.subarray(0, Math.min(left, chunk.byteLength));
        left -= part.byteLength;
        if (!sent.write(part)) return void sent.once("drain", write);
      }
      sent.end();
    };
    write();
  });
}

/** The status of a call over gRPC that ends before it began, and the reason. */
async function grpcStatus(http: string, headers: Record<string, string>): Promise<string> {
  const session = connect(`http://${http}`);
  try {
    const stream = session.request({
      ":method": "POST",
      ":path": "/inference.GRPCInferenceService/ModelInfer",
      "content-type": "application/grpc",
      te: "trailers",
      ...headers,
    });
    stream.end(Buffer.alloc(5));
    const [reply] = (await once(stream, "response")) as [Record<string, unknown>];
    stream.resume();
    return `${String(reply["grpc-status"])} ${String(reply["longshore-reason"])}`;
  } finally {
    session.destroy();
  }
}

/** A pool of these servers: one pod on this machine, with the port of each. */
function poolOf({ servers }: Fleet, ...names: readonly ("eu" | "us")[]): ReturnType<typeof testPool> {
  const ports = names.map((name) => Number(servers[name].http.split(":")[1]));
  return testPool("ocr", { app: "ocr" }, ports);
}

/** An API server with such a pool, and how a picker finds it. */
async function pooled(fleet: Fleet, open: Open[], ...names: readonly ("eu" | "us")[]) {
  const api = await fakeApiServer();
  open.push({ close: async () => api.close() });
  const kubeconfig = join(fleet.folder, `kubeconfig-${api.url.port}`);
  await writeFile(kubeconfig, kubeconfigOf(api.url));
  api.put(testPaths.pools, poolOf(fleet, ...names));
  api.put(testPaths.pods, testPod("a", "127.0.0.1"));
  const args = ["--pool", "shop/ocr", "--data-class", "internal"];
  return { api, more: { args, env: { KUBECONFIG: kubeconfig } } };
}

/** A request whose headers have left and whose body has not: it is under way until it is ended, or answered early. */
interface HalfSent {
  /** Whether it is still under way. */
  readonly holds: boolean;
  end(): void;
}

function halfSent(http: string, headers: Record<string, string>): Promise<HalfSent> {
  const [host = "", port = ""] = http.split(":");
  return new Promise((resolve) => {
    const sent = request({
      host,
      port,
      path,
      method: "POST",
      headers: { "content-length": "100000", ...headers },
    });
    let over = false;
    const ended = (): void => {
      over = true;
      sent.destroy();
    };
    sent.on("error", ended);
    sent.on("close", ended);
    sent.on("response", ended);
    sent.flushHeaders();
    sent.write(" ", () =>
      resolve({
        get holds() {
          return !over;
        },
        end: ended,
      }),
    );
  });
}

/** Repeats the request until a reply is as wanted, for changes that take effect later. */
async function eventually(ask: () => Promise<Reply>, wanted: (reply: Reply) => boolean): Promise<Reply> {
  const untilMs = performance.now() + 60_000;
  for (;;) {
    const reply = await ask();
    if (wanted(reply) || performance.now() > untilMs) return reply;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

/** A pool that one half-sent request fills. */
interface FullPool {
  readonly held: HalfSent;
  /** The refusal of the next request. */
  readonly reply: Reply;
}

/**
 * Fills a pool that lets one request in at a time: sends half a request until the next one with the same rules is refused. A half-sent
 * request that arrives while an earlier one still counts is answered early, and another one takes its turn.
 */
async function filled(http: string, headers: Record<string, string>): Promise<FullPool> {
  let held = await halfSent(http, headers);
  let answeredEarly = 0;
  const reply = await eventually(
    async () => {
      if (!held.holds) {
        answeredEarly++;
        held = await halfSent(http, headers);
      }
      return infer(http, headers);
    },
    ({ status }) => status === 429,
  );
  expectThat(reply.status === 429, `${reply.status} instead of 429; ${answeredEarly} half-sent answered`);
  expectReply(reply, 429, "rejected");
  return { held, reply };
}

/** Waits until no server listens at an address. A signal takes effect some time after it was sent. */
async function untilGone(http: string): Promise<void> {
  const isThere = (): Promise<boolean> =>
    fetch(`http://${http}/v2/health/live`).then(
      () => true,
      () => false,
    );
  while (await isThere()) await new Promise((resolve) => setTimeout(resolve, 20));
}

/** Requests of a check under load, and how many are under way at a time. */
const loadRequests = 1600;
const connections = 8;

type Check = (fleet: Fleet, open: Open[]) => Promise<string>;

const checks: Readonly<Record<string, Check>> = {
  async "requests reach the server that the picker chose"(fleet, open) {
    const { http } = await started(fleet, open);
    for (const zone of ["eu", "us"] as const) {
      const rise = await during(fleet, async () => {
        for (let at = 0; at < 5; at++) expectReply(await infer(http, rules(zone)), 200);
        // The picker ignores an endpoint that the client names.
        const other = fleet.servers[zone === "eu" ? "us" : "eu"].http;
        expectReply(await infer(http, { ...rules(zone), "x-gateway-destination-endpoint": other }), 200);
      });
      expectThat(rise[zone] === 6 && rise.eu + rise.us === 6, `rules for ${zone}: ${JSON.stringify(rise)}`);
    }
    expectReply(await infer(http, rules("asia")), 403, "policy-denied");
    expectReply(await infer(http, { "longshore-rules": "class=personal;trust=none;retention=0" }), 403);
    expectReply(await infer(http, rules(), "/v2/models/nothing/infer"), 404, "unknown-model");
    const metadata = await fetch(`http://${http}/v2/models/simple`);
    expectThat(metadata.status === 200, `metadata: ${metadata.status}`);
    return "12 requests by zone; 403 and 404 as JSON";
  },

  async "a subset of endpoints, as list and as text"(fleet, open) {
    const { us } = fleet.servers;
    for (const value of [`["${us.http}"]`, `"${us.http}, 192.0.2.1:80"`]) {
      const subset = [
        `- name: "envoy.filters.http.set_metadata"`,
        `  typed_config:`,
        `    "@type": "type.googleapis.com/envoy.extensions.filters.http.set_metadata.v3.Config"`,
        `    metadata:`,
        `      - metadata_namespace: "envoy.lb.subset_hint"`,
        `        value: { "x-gateway-destination-endpoint-subset": ${value} }`,
      ];
      const edit = (yaml: string): string =>
        yaml.replace(/^( *)- name: "envoy\.filters\.http\.ext_proc"/m, (line, indent: string) =>
          [...subset.map((one) => indent + one), line].join("\n"),
        );
      const { http } = await started(fleet, open, { edit, zones: ["us"] });
      const rise = await during(fleet, async () => {
        for (let at = 0; at < 4; at++) expectReply(await infer(http, rules()), 200);
      });
      expectThat(rise.us === 4 && rise.eu === 0, `${value}: ${JSON.stringify(rise)}`);
      expectReply(await infer(http, rules("eu")), 403, "policy-denied");
    }
    return "8 requests";
  },

  async "a full server: 429 with Retry-After, until what holds it ends"(fleet, open) {
    const at = `http://${fleet.servers.eu.http}`;
    const args = ["--at", at, "--data-class", "internal", "--most-in-flight", "1", "--tls", "self-signed"];
    const { http } = await started(fleet, open, { args, zones: [] });
    expectReply(
      await eventually(
        () => infer(http, rules()),
        ({ status }) => status === 200,
      ),
      200,
    );
    const { held, reply: full } = await filled(http, rules());
    expectThat(full.headers.get("retry-after") === "1", `retry-after: ${full.headers.get("retry-after")}`);
    held.end();
    const after = await eventually(
      () => infer(http, rules()),
      ({ status }) => status === 200,
    );
    expectReply(after, 200);
    return "over TLS with a self-signed certificate";
  },

  async "gRPC: Triton's client, with the model in a header or in the message, unary and streams"(
    fleet,
    open,
  ) {
    // The ports of both servers differ, so each check has one of them.
    const { http: at, grpc = "" } = fleet.servers.us;
    const args = ["--at", `http://${at}`, "--at-zone", "us", "--at-grpc", `:${grpc.split(":")[1]}`];
    const all = [...args, "--data-class", "internal"];
    const closed = await started(fleet, open, { args: all, zones: ["us"] });
    await grpcClient(closed.http, "closed=us");
    const opened = await started(fleet, open, { args: all, zones: ["us"], envoyArgs: ["--fail-open"] });
    await grpcClient(opened.http, "open=us");
    const narrow = await started(fleet, open, { args: [...all, "--most-in-flight", "1"], zones: ["us"] });
    const { held } = await filled(narrow.http, rules());
    await grpcClient(narrow.http, "full");
    held.end();
    return "3 Envoys";
  },

  async "an InferencePool: Envoy follows its endpoints, and keeps them while the picker is away"(
    fleet,
    open,
  ) {
    const { api, more } = await pooled(fleet, open, "us");
    const picked = await started(fleet, open, { ...more, zones: [], envoyArgs: ["--fail-open"] });
    const { http, kill } = picked;
    const server = async (): Promise<string> => {
      const rise = await during(fleet, async () => expectReply(await infer(http, rules()), 200));
      return rise.eu === 1 ? "eu" : rise.us === 1 ? "us" : "none";
    };
    expectReply(
      await eventually(
        () => infer(http, rules()),
        ({ status }) => status === 200,
      ),
      200,
    );
    expectThat((await server()) === "us", "a pool with one endpoint sends there");
    for (const zone of ["eu", "us"] as const) {
      api.put(testPaths.pools, poolOf(fleet, zone));
      const untilMs = performance.now() + 60_000;
      while ((await server()) !== zone) {
        expectThat(performance.now() < untilMs, `no request reaches ${zone}, which is the pool now`);
      }
    }
    api.put(testPaths.pools, poolOf(fleet, "eu", "us"));
    const untilMs = performance.now() + 60_000;
    while ((await server()) !== "eu") expectThat(performance.now() < untilMs, "no request reaches eu");
    await kill();
    const rise = await during(fleet, async () => {
      for (let at = 0; at < 10; at++) expectReply(await infer(http, rules()), 200);
    });
    expectThat(rise.eu > 0 && rise.us > 0, `fail open takes turns: ${JSON.stringify(rise)}`);
    return "4 pools; 0 of 10 failed without a picker";
  },

  async "spill: a full pool, and rules that exclude it, lead outside it, and no further than rules and cost allow"(
    fleet,
    open,
  ) {
    const { eu, us } = fleet.servers;
    const port = us.http.split(":")[1];
    const entries = [
      { id: "far", address: `http://localhost:${port}`, tier: "cloud", zone: "us", trust: "listed" },
    ];
    const far = join(fleet.folder, "far.json");
    await writeFile(far, JSON.stringify({ schemaVersion: 1, entries }));
    const kinds = [`http://localhost:${port},zone=us,per-second=1000,per-request=5`, `directory:${far}`];
    for (const spill of kinds) {
      const args = [
        "--at",
        `http://${eu.http}`,
        "--at-zone",
        "eu",
        "--spill",
        spill,
        "--data-class",
        "internal",
      ];
      const narrow = [...args, "--at-price", "per-second=0", "--most-in-flight", "1"];
      const { http, kill } = await started(fleet, open, { args: narrow, envoyArgs: ["--fail-open"] });
      const own = await during(fleet, async () => {
        for (let at = 0; at < 5; at++) expectReply(await infer(http, rules()), 200);
      });
      expectThat(own.eu === 5, `${spill}: with the pool idle ${JSON.stringify(own)}`);
      const { held } = await filled(http, rules("eu"));
      const over = await during(fleet, async () => {
        for (let at = 0; at < 5; at++) expectReply(await infer(http, rules()), 200);
        expectReply(await infer(http, { ...rules(), "longshore-max-cost": "1" }), 429, "rejected");
      });
      expectThat(over.us === 5 && over.eu === 0, `${spill}: with the pool full ${JSON.stringify(over)}`);
      held.end();
      const back = await eventually(
        () => infer(http, rules("eu")),
        ({ status }) => status === 200,
      );
      expectReply(back, 200);
      await kill();
      const opened = await during(fleet, async () => {
        for (let at = 0; at < 5; at++) expectReply(await infer(http, rules()), 200);
      });
      expectThat(opened.eu === 5, `${spill}: without a picker ${JSON.stringify(opened)}`);
    }
    return "a server by its name, and a directory; 10 requests outside the pool";
  },

  async "Envoy's own balancing by load reports: it reads ours, over HTTP and in gRPC's trailers"(
    fleet,
    open,
  ) {
    const planted = await startReporting();
    open.push({ close: () => planted.close() });
    const { eu } = fleet.servers;
    const front = await startEnvoy({
      upstreams: [eu.http, planted.http],
      grpcUpstreams: [eu.grpc ?? "", planted.grpc],
      policy: "weighted by load reports",
      folder: fleet.folder,
    });
    open.push(front);
    const client = await tritonClient();
    const counts = {
      http: async (): Promise<number> => {
        let ours = 0;
        for (let at = 0; at < 40; at++) {
          const reply = await infer(front.http, rules());
          expectReply(reply, 200);
          if (!reply.text.includes("planted")) ours++;
        }
        return ours;
      },
      grpc: async (): Promise<number> => {
        const { code, out, err } = await run(client.python, [countScript, front.http, "40"], {
          timeoutMs: 300_000,
        });
        if (code !== 0) throw new Error(`Triton's client over gRPC: ${lastWords(out, err)}`);
        return Number(out.trim());
      },
    };
    const told: string[] = [];
    for (const [how, count] of Object.entries(counts)) {
      // A server whose report is not read has the weight of the others: then both get half in either case.
      for (const [perSecond, utilisation, isOurs] of [
        [1_000_000, 0.5, false],
        [0.1, 1, true],
      ] as const) {
        planted.report(perSecond, utilisation);
        const untilMs = performance.now() + 120_000;
        let ours = 20;
        while (isOurs ? ours < 36 : ours > 4) {
          const why = `${how}: ${ours} of 40 reach our server beside one that reports ${perSecond} a second`;
          expectThat(performance.now() < untilMs, why);
          ours = await count();
        }
        told.push(`${how}: ${ours} of 40`);
      }
    }
    return told.join(", ");
  },

  async "hostile: a body of 1 GB through the picker, a reply that never comes, headers as large as Envoy lets in"(
    fleet,
    open,
  ) {
    const swallowing = await startSwallowing();
    open.push(swallowing);
    const at = ["--at", `http://${swallowing.http}`, "--at-kind", "oip", "--data-class", "internal"];
    // A gateway that sends bodies in full duplex: every byte passes the picker twice.
    const edit = (yaml: string): string =>
      patient(yaml)
        .replace('request_body_mode: "NONE"', 'request_body_mode: "FULL_DUPLEX_STREAMED"')
        .replace('request_trailer_mode: "SKIP"', 'request_trailer_mode: "SEND"');
    const { http, pickerPid } = await started(fleet, open, { args: at, zones: [], edit });
    const ready = (): Promise<Reply> =>
      eventually(
        () => infer(http, rules()),
        ({ status }) => status === 200,
      );
    expectReply(await ready(), 200);
    const before = await peakMegabytes(pickerPid);
    const got = await sendBody(http, hugeBytes);
    expectThat(got === `200 ${hugeBytes}`, `a body of ${hugeBytes} bytes: ${got}`);
    const grown = (await peakMegabytes(pickerPid)) - before;
    expectThat(grown < 300, `the picker grew by ${grown} MB for a body of 1 GB`);
    for (const length of [1000, 30_000, 200_000]) {
      const long = "a".repeat(length);
      for (const name of ["longshore-rules", "x-gateway-inference-fairness-id", "longshore-goal", "cookie"]) {
        const { status } = await infer(http, { ...rules(), [name]: long }).catch(() => ({ status: 431 }));
        expectThat([200, 400, 403, 431].includes(status), `${length} bytes of ${name}: ${status}`);
      }
    }
    // Servers that never answer hold what is under way at the picker only while their clients wait.
    swallowing.silence();
    const left = await Promise.all(
      Array.from({ length: 8 }, () =>
        fetch(`http://${http}${path}`, { method: "POST", body, signal: AbortSignal.timeout(500) }).then(
          ({ status }) => String(status),
          ({ name }: Error) => name,
        ),
      ),
    );
    expectThat(
      left.every((one) => one === "TimeoutError"),
      `without a reply: ${left.join(", ")}`,
    );
    swallowing.speak();
    expectReply(await ready(), 200);
    return `1 GB back and forth with ${grown} MB more memory; 12 headers of up to 200 kB`;
  },

  async "ext_authz: identity, rights and limits before any cluster, and before a picker"(fleet, open) {
    const { identity, keys, args } = await authzFiles(fleet);
    const { http, port, checker, seen } = await startAuthz(fleet, open, "authz", [
      "--identity",
      identity,
      ...args,
    ]);
    const ask = (headers: Record<string, string>, where?: string): Promise<Reply> => {
      seen.length = 0;
      return infer(http, headers, where);
    };
    const nobody = await ask({});
    expectReply(nobody, 401, "unauthenticated");
    expectThat(nobody.headers.get("www-authenticate") !== null, "401 names a scheme");
    expectReply(await ask({ authorization: "Bearer lsk_wrong" }), 401, "unauthenticated");
    const acme = { "x-api-key": keys.acme };
    expectReply(
      await ask({ ...acme, cookie: "session=1", "longshore-rules": "class=public;trust=none" }),
      200,
    );
    const [got = {}] = seen;
    const upstreamSaw = JSON.stringify(got);
    expectThat(got["longshore-tenant"] === "acme" && got["longshore-rights"] === "infer", upstreamSaw);
    expectThat(got["authorization"] === "Bearer upstream-key", "the proxy's own credential goes on");
    expectThat(!upstreamSaw.includes(keys.acme) && got["cookie"] === undefined, "the client's does not");
    expectThat(got["longshore-rules"] === "class=public;trust=none", "rules of the request stay");
    expectReply(await ask(acme), 200);
    expectThat(String(seen[0]?.["longshore-rules"]).startsWith("class=internal"), "rules are stated for it");
    // The client's own claims can only narrow its rights.
    expectReply(await ask({ ...acme, "longshore-tenant": "slow" }), 403, "not-permitted");
    expectReply(await ask({ ...acme, "longshore-rights": "manage" }), 403, "not-permitted");
    expectReply(await ask(acme, "/v2/repository/models/simple/load"), 403, "not-permitted");
    expectReply(await ask(acme, "/v1/chat/completions"), 404, "unknown-route");
    expectReply(await ask({ ...acme, "longshore-rules": "trust=everyone" }), 403, "policy-denied");
    expectReply(await ask({ ...acme, "longshore-deadline": "soon" }), 400, "invalid-input");
    expectThat(seen.length === 0, "a denied request reached its server");
    const slow = { authorization: `Bearer ${keys.slow}` };
    expectReply(await ask(slow), 200);
    const limited = await ask(slow);
    expectReply(limited, 429, "tenant-limit");
    expectThat(Number(limited.headers.get("retry-after")) > 1, "when to come back");
    expectReply(await ask(acme), 200);
    const status = await grpcStatus(http, {});
    expectThat(status === "16 unauthenticated", `over gRPC without a key: ${status}`);
    const busy = await grpcStatus(http, slow);
    expectThat(busy === "8 tenant-limit", `over gRPC beyond the limit: ${busy}`);

    const before = ["--authz", `127.0.0.1:${port}`];
    const picked = await started(fleet, open, { envoyArgs: before, zones: [], edit: patient });
    const answer = await eventually(
      () => infer(picked.http, { ...acme, ...rules() }),
      ({ status: code }) => code === 200,
    );
    expectReply(answer, 200);
    expectReply(await infer(picked.http, rules()), 401, "unauthenticated");
    await checker.end("SIGKILL");
    expectReply(await infer(picked.http, { ...acme, ...rules() }), 503);
    expectReply(await ask(acme), 503);
    return "HTTP and gRPC; without the check 503";
  },

  async "ext_authz: tokens of a real OpenID Provider"(fleet, open) {
    const issuer = await Issuer.start([newKey("plain")]);
    open.push(issuer);
    const identity = join(fleet.folder, "tokens.yaml");
    const lines = [
      "tokens:",
      `  - issuer: ${issuer.issuer}`,
      "    audience: longshore",
      "    type: at+jwt",
      "    clockSkewMs: 0",
      "    tenant: { claim: client_id }",
      "    rights: { claim: scope }",
      "failuresPerMinute: 1000",
      "tenants: { till: { models: [simple] } }",
    ];
    await writeFile(identity, `${lines.join("\n")}\n`);
    const { http, seen } = await startAuthz(fleet, open, "authz-tokens", ["--identity", identity]);
    const ask = (token: string, where?: string): Promise<Reply> => {
      seen.length = 0;
      return infer(http, { authorization: `Bearer ${token}` }, where);
    };
    const token = await issuer.token("till", "infer");
    expectReply(await ask(token), 200);
    const [got = {}] = seen;
    expectThat(got["longshore-tenant"] === "till", `tenant ${String(got["longshore-tenant"])}`);
    expectThat(got["longshore-rights"] === "infer", `rights ${String(got["longshore-rights"])}`);
    expectThat(got["authorization"] === undefined, "the token reached the server");
    expectReply(await ask(token, "/v2/models/other/infer"), 404, "unknown-model");
    expectReply(await ask(await issuer.token("till", "observe")), 403, "not-permitted");
    expectReply(await ask(await issuer.token("stranger", "infer")), 403, "not-permitted");
    expectReply(await ask(await issuer.token("till", "infer", "urn:other")), 401, "unauthenticated");
    expectReply(await ask(forged(token)), 401, "unauthenticated");
    const brief = await issuer.token("till", "infer", "urn:longshore:brief");
    const late = await eventually(
      () => ask(brief),
      ({ status }) => status === 401,
    );
    expectReply(late, 401, "unauthenticated");
    expectThat(seen.length === 0, "a refused token reached the server");
    const status = await grpcStatus(http, { authorization: `Bearer ${forged(token)}` });
    expectThat(status === "16 unauthenticated", `over gRPC with a forged token: ${status}`);
    // Its keys are known.
    await issuer.close();
    expectReply(await ask(token), 200);
    return "tenant and rights by claims; another audience, tenant, right, model, a late and a forged one refused";
  },

  async "a picker is killed: fail closed answers 503, fail open serves and no server breaks its rules"(
    fleet,
    open,
  ) {
    const closed = await started(fleet, open);
    const opened = await started(fleet, open, { envoyArgs: ["--fail-open"] });
    expectReply(await infer(opened.http, rules()), 200);
    await closed.kill();
    await opened.kill();
    expectReply(await infer(closed.http, rules()), 503);
    const rise = await during(fleet, async () => {
      for (let at = 0; at < 10; at++) expectReply(await infer(opened.http, rules()), 200);
    });
    expectThat(rise.eu > 0 && rise.us > 0, `fail open takes turns: ${JSON.stringify(rise)}`);
    let refused = 0;
    const ruled = await during(fleet, async () => {
      for (let at = 0; at < 10; at++) {
        const reply = await infer(opened.http, rules("eu"));
        if (reply.status === 200) continue;
        expectReply(reply, 403, "policy-denied");
        refused++;
      }
    });
    expectThat(ruled.us === 0 && refused > 0, `in a forbidden zone: ${JSON.stringify(ruled)}`);
    for (let at = 0; at < 4; at++) {
      const personal = { "longshore-rules": "class=personal;trust=none" };
      expectReply(await infer(opened.http, personal), 403, "policy-denied");
    }
    return `0 of 10 requests failed; of 10 that may only be in eu the server in us refused ${refused}`;
  },

  async "one of two pickers is killed under load: fail open fails no request, fail closed few"(fleet, open) {
    const told: string[] = [];
    for (const [how, envoyArgs, mostRatio] of [
      ["fail open", ["--fail-open"], 0],
      // Envoy notices the absence on another thread than the one that sends: on a busy machine 2 % have failed by then.
      ["fail closed", [], 0.1],
    ] as const) {
      const { http, kill } = await started(fleet, open, { pickers: 2, envoyArgs });
      for (let at = 0; at < 20; at++) expectReply(await infer(http, rules()), 200);
      const kinds = new Map<string, number>();
      let sent = 0;
      let lastFailure = 0;
      let killing: Promise<void> | undefined;
      const us = await answered(fleet.servers.us);
      await Promise.all(
        Array.from({ length: connections }, async () => {
          while (sent < loadRequests) {
            const own = sent++;
            if (own === loadRequests / 8) killing = kill();
            // Every request may only be answered in eu; without a picker, the server in us refuses its share.
            const { status, reason, text } = await infer(http, rules("eu"));
            const isRule = how === "fail open" && status === 403 && reason === "policy-denied";
            if (status === 200 || isRule) continue;
            const kind = `${status} ${reason ?? text.slice(0, 80)}`;
            kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
            lastFailure = own;
          }
        }),
      );
      await killing;
      const failed = [...kinds.values()].reduce((sum, one) => sum + one, 0);
      const which = JSON.stringify(Object.fromEntries(kinds));
      expectThat(failed <= mostRatio * sent, `${how}: ${failed} of ${sent} requests failed: ${which}`);
      expectThat(lastFailure < loadRequests / 2, `${how}: requests failed long after: ${which}`);
      expectThat((await answered(fleet.servers.us)) === us, `${how}: a request left its zone`);
      told.push(`${how}: ${failed} of ${sent} failed`);
    }
    return `${told.join("; ")}; 0 left their zone`;
  },

  // Last, since it ends one of the servers.
  async "a killed server is avoided; where no other may take a request: 503 with the reason"(fleet, open) {
    const { http } = await started(fleet, open);
    const { more } = await pooled(fleet, open, "eu", "us");
    const pool = await started(fleet, open, { ...more, zones: [] });
    const both = [http, pool.http];
    for (const one of both) {
      const us = await answered(fleet.servers.us);
      let row = 0;
      let isUsed = false;
      // One request at a time may always find the same server the better one.
      await eventually(
        async () => {
          const replies = await Promise.all(Array.from({ length: 4 }, () => infer(one, rules())));
          row = replies.every(({ status }) => status === 200) ? row + 1 : 0;
          isUsed = (await answered(fleet.servers.us)) > us;
          return replies[0] ?? infer(one, rules());
        },
        () => row > 4 && isUsed,
      );
      expectThat(isUsed, "both servers are in use");
    }
    process.kill(-fleet.servers.us.pid, "SIGKILL");
    await untilGone(fleet.servers.us.http);
    const failed: string[] = [];
    for (let at = 0; at < 60; at++) {
      const { status, text } = await infer(both[at % 2] ?? "", rules());
      if (status !== 200) failed.push(`request ${at}: ${status} ${text.slice(0, 200)}`);
    }
    expectThat(failed.length === 0, `${failed.length} of 60 requests failed: ${failed[0]}`);
    const none = await eventually(
      () => infer(http, rules("us")),
      ({ reason }) => reason === "no-endpoint",
    );
    expectReply(none, 503, "no-endpoint");
    return "0 of 60 requests failed, of a list and of an InferencePool";
  },
};

async function openFleet(folder: string, open: Open[]): Promise<Fleet> {
  const repository = join(folder, "models");
  await mkdir(repository);
  await writeRepository(repository);
  const serve = async (zone: string): Promise<RunningPeer> => {
    const one = await startOwn({
      repository,
      args: [
        "--zone",
        zone,
        "--allow-classes",
        "internal",
        "--workers",
        "1",
        "--model-control",
        "explicit",
        "--load-model",
        "simple",
        "--load-model",
        "simple_identity",
      ],
    });
    open.push(one);
    return one;
  };
  const servers = { eu: await serve("eu"), us: await serve("us") };
  const entries = Object.entries(servers).map(([zone, { http }]) => ({
    id: zone,
    address: `http://${http}`,
    tier: "edge",
    zone,
    trust: "listed",
  }));
  const directory = join(folder, "endpoints.json");
  await writeFile(directory, JSON.stringify({ schemaVersion: 1, entries }));
  return { folder, servers, directory };
}

/** `longshore pick` beside the real Envoy, in front of real servers. */
export const pickPart: Part = {
  name: "pick",
  async run(context: PartContext) {
    if (!Object.keys(checks).some((name) => asked(context, name))) return;
    await inFolder("pick", async (folder, opened) => {
      const fleet = await openFleet(folder, opened);
      for (const [name, check] of Object.entries(checks)) {
        if (!asked(context, name)) continue;
        const open: Open[] = [];
        try {
          context.told({ name, outcome: "passed", detail: await check(fleet, open) });
        } catch (thrown) {
          if (!(thrown instanceof Error) || thrown.name === "Unavailable") throw thrown;
          context.told({ name, outcome: "failed", detail: thrown.message });
        } finally {
          for (const one of open.reverse()) await one.close();
        }
      }
    });
  },
};
