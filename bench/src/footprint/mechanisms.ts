/** A part of the work for one request, by its purpose. */
interface Mechanism {
  readonly name: string;
  /** Of the files whose functions belong to it, below `packages/` or `node_modules/`, without `dist/`. The first that fits counts. */
  readonly files: RegExp;
}

/** The work for one request. Files that no entry names are listed under their module. */
const mechanisms: readonly Mechanism[] = [
  { name: "Node.js: sockets, streams, timers", files: /^node:/ },
  { name: "HTTP to the server", files: /^undici\/|^nodejs\/http\// },
  { name: "HTTP from the client, limits of connections", files: /^server\/(listen|body|life)\// },
  { name: "metrics, spans, log", files: /^server\/telemetry\// },
  { name: "rights, limits of the call, parsing", files: /^server\/(api|identify|cache|quota)\// },
  {
    name: "the protocol: heads, headers, replies",
    files: /^core\/wire\/(protocol|oip|body|endpoint|transport)\//,
  },
  {
    name: "plan: which endpoints may, what each would take",
    files: /^core\/decide\/(plan|goal|policy|table)\//,
  },
  { name: "beliefs that the plan reads and learns", files: /^core\/decide\/estimate\// },
  { name: "state of endpoints: health, queue, speed", files: /^core\/offload\/endpoints\// },
  { name: "race: legs, guard, retries, learning", files: /^core\/offload\/(race|steps)\// },
  {
    name: "the offload endpoint, knowledge of models",
    files: /^core\/offload\/(face|knowledge|models|rollout)\//,
  },
  { name: "probes and checks of answers", files: /^core\/offload\/(probe|check)\// },
  { name: "account, price, receipt", files: /^core\/offload\/account\// },
  { name: "engine: queues, batches, what waits", files: /^engine\/schedule\// },
  { name: "engine: admission, segments, answers", files: /^engine\/(execute|run|repository|sequence)\// },
  { name: "runtime: sessions, messages to lanes", files: /^(engine|nodejs)\/runtime\/|^onnxruntime-/ },
  { name: "calls, deadlines, clock, small collections", files: /^core\/words\/|^nodejs\/device\// },
];

/** The file of a function, below its package. */
function fileOf(url: string): string {
  const file = url.replace(/^.*\/(?:packages|node_modules)\//, "");
  return file.replace("/dist/", "/");
}

/** The mechanism that a function belongs to. */
export function mechanismOf(url: string): string {
  const file = fileOf(url);
  return mechanisms.find(({ files }) => files.test(file))?.name ?? "other";
}
