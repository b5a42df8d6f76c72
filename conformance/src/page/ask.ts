/**
 * The script of a page of the part `pages`: it sends requests to some servers and posts the results to its own server. It runs
 * in a browser, from the built packages, without a bundler.
 *
 * @module
 */
import { numericTensor } from "@longshore/core";
import { connect } from "@longshore/web";

/** A page's view of one server. A text that starts with `refused: ` is the browser's error. */
export interface Seen {
  /** Sums and differences of a model that ran by `connect`, compared by the page. */
  readonly infer: string;
  /** The same with an answer long enough to travel compressed. */
  readonly longInfer: string;
  /** Status of a request to manage models. */
  readonly manage: string;
  /** Status of a request for the same answer with `credentials: "include"`. */
  readonly withCookies: string;
  /** Headers that the page may read. */
  readonly headers: string;
}

async function told(work: () => Promise<string>): Promise<string> {
  try {
    return await work();
  } catch (thrown) {
    return `refused: ${thrown instanceof Error ? thrown.message : String(thrown)}`;
  }
}

async function infer(address: string, rows: number): Promise<string> {
  const client = connect(address);
  try {
    const a = Int32Array.from({ length: rows * 16 }, (_, at) => at);
    const b = new Int32Array(rows * 16).fill(1);
    const inputs = {
      INPUT0: numericTensor("INPUT0", "INT32", [rows, 16], a),
      INPUT1: numericTensor("INPUT1", "INT32", [rows, 16], b),
    };
    const { outputs } = await client.infer("simple", inputs, { deadlineMs: 60_000 });
    const bytes = outputs.get("OUTPUT0")?.bytes;
    const sums = bytes ? new Int32Array(bytes.slice().buffer) : new Int32Array(0);
    const isRight = sums.length === a.length && a.every((one, at) => sums[at] === one + 1);
    return isRight ? "right" : `wrong: ${sums.slice(0, 4).join(" ")}`;
  } finally {
    await client.close();
  }
}

async function look(address: string): Promise<Seen> {
  return {
    infer: await told(() => infer(address, 1)),
    longInfer: await told(() => infer(address, 8)),
    manage: await told(async () => {
      const reply = await fetch(`${address}/v2/repository/index`, { method: "POST", body: "{}" });
      return `${reply.status}`;
    }),
    withCookies: await told(async () => {
      const reply = await fetch(`${address}/v2/models/simple`, { credentials: "include" });
      return `${reply.status}`;
    }),
    headers: await told(async () => {
      const { headers } = await fetch(`${address}/v2/models/simple/infer`, { method: "POST", body: "{}" });
      return [...headers.keys()].sort().join(" ");
    }),
  };
}

const addresses = new URLSearchParams(location.search).getAll("server");
const seen: Record<string, Seen> = {};
for (const address of addresses) {
  seen[address] = await look(address);
  // As an image or a script of the page is requested: without an origin, and the page sees nothing of the reply.
  await told(async () => (await fetch(`${address}/metrics`, { mode: "no-cors" })).type);
}
await fetch("/report", { method: "POST", body: JSON.stringify(seen) });
