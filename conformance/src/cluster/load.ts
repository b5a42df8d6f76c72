import { Agent, request } from "node:http";

const values = Array.from({ length: 16 }, () => 1);
const body = JSON.stringify({
  inputs: ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data: values })),
});

/** Sends one request to the model `simple`. */
export function inferOnce(
  host: string,
  port: number,
  agent: Agent,
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve) => {
    const headers = { "content-type": "application/json", "content-length": `${body.length}` };
    const sent = request(
      { host, port, path: "/v2/models/simple/infer", method: "POST", headers, agent, timeout: 60_000 },
      (reply) => {
        let text = "";
        reply.setEncoding("utf8");
        reply.on("data", (chunk: string) => (text += chunk));
        reply.on("error", (error) => resolve({ status: 0, text: error.message }));
        reply.on("end", () => resolve({ status: reply.statusCode ?? 0, text }));
      },
    );
    sent.on("timeout", () => sent.destroy(new Error("no reply in a minute")));
    sent.on("error", (error) => resolve({ status: 0, text: error.message }));
    sent.end(body);
  });
}

/** Requests of four connections, one after the other each, until it is stopped. */
export class Load {
  readonly #agent = new Agent({ keepAlive: true });
  readonly #loops: readonly Promise<void>[];
  #isStopped = false;
  #answered = 0;
  readonly #failures: string[] = [];

  constructor(host: string, port: number) {
    this.#loops = Array.from({ length: 4 }, async () => {
      while (!this.#isStopped) {
        const { status, text } = await inferOnce(host, port, this.#agent);
        if (status === 200 && text.includes("OUTPUT0")) this.#answered++;
        else this.#failures.push(`${status} ${text.slice(0, 300)}`);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    });
  }

  async stop(): Promise<{ readonly answered: number; readonly failures: readonly string[] }> {
    this.#isStopped = true;
    await Promise.all(this.#loops);
    this.#agent.destroy();
    return { answered: this.#answered, failures: this.#failures };
  }
}
