import { request as httpRequest, Agent } from "node:http";
import { float32Tensor, float32View, type Offloader } from "longshore";

/** The outcome of one request. */
export interface Answered {
  /** From the beginning of the fault; negative before it. */
  readonly atMs: number;
  readonly tookMs: number;
  readonly outcome: "right" | "wrong" | "error" | "lost";
  readonly why: string;
}

/** Sends a request for the mean of a row that no other client sends. Throws the client's error. */
export type Ask = (value: number) => Promise<number>;

/** How long a caller waits before a request counts as lost, in milliseconds. */
const patienceMs = 10_000;
const deadlineMs = 5000;
const rowLength = 250;

const row = (value: number): Float32Array => new Float32Array(rowLength).fill(value);

/** A client without any cleverness, as those of Triton, over gateways in turns. `confirm`: two servers must give each answer. */
export function rawClient(addresses: readonly string[], confirm: boolean): Ask & Disposable {
  const agent = new Agent({ keepAlive: true });
  const rules = confirm ? { "longshore-rules": "class=internal;trust=none;confirm=true" } : {};
  let next = 0;
  const ask = (value: number): Promise<number> => {
    const address = addresses[next++ % addresses.length] ?? "";
    const [host = "", port = ""] = address.split(":");
    const data = [...row(value)];
    const body = JSON.stringify({ inputs: [{ name: "x", datatype: "FP32", shape: [1, rowLength], data }] });
    return new Promise((resolve, reject) => {
      const headers = {
        "content-length": Buffer.byteLength(body),
        "longshore-deadline": String(deadlineMs),
        ...rules,
      };
      const options = {
        agent,
        host,
        port: Number(port),
        method: "POST",
        path: "/v2/models/mean/infer",
        headers,
      };
      const outgoing = httpRequest(options, (reply) => {
        let text = "";
        reply
          .setEncoding("utf8")
          .on("data", (chunk: string) => (text += chunk))
          .on("end", () => {
            if (reply.statusCode !== 200) reject(new Error(`${reply.statusCode}: ${text.slice(0, 200)}`));
            else resolve((JSON.parse(text) as { outputs: { data: number[] }[] }).outputs[0]?.data[0] ?? NaN);
          });
      });
      outgoing.on("error", reject);
      outgoing.end(body);
    });
  };
  return Object.assign(ask, { [Symbol.dispose]: () => agent.destroy() });
}

/** The client library, which knows the servers itself. */
export function ownClient(offloader: Offloader): Ask {
  return async (value) => {
    const inputs = { x: float32Tensor("x", [1, rowLength], row(value)) };
    const result = await offloader.infer("mean", inputs, { deadlineMs, dataClass: "internal" });
    const y = result.outputs.get("y");
    return y ? (float32View(y)[0] ?? NaN) : NaN;
  };
}

/** Sends one request and says what became of it; never rejects. */
export async function follow(ask: Ask, value: number, atMs: number): Promise<Answered> {
  const startedMs = performance.now();
  let timer: NodeJS.Timeout | undefined;
  const lost = new Promise<"lost">((resolve) => (timer = setTimeout(() => resolve("lost"), patienceMs)));
  try {
    const answer = await Promise.race([ask(value), lost]);
    const tookMs = performance.now() - startedMs;
    if (answer === "lost") return { atMs, tookMs, outcome: "lost", why: "no answer" };
    const right = Math.abs(answer - value) <= 1e-4 * Math.abs(value);
    return { atMs, tookMs, outcome: right ? "right" : "wrong", why: right ? "" : `${answer} for ${value}` };
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown);
    return { atMs, tookMs: performance.now() - startedMs, outcome: "error", why };
  } finally {
    clearTimeout(timer);
  }
}
