import { Agent, request } from "node:http";

/** A request for a model, and a word of its answer. */
export interface Asked {
  readonly model: string;
  readonly body: string;
  readonly answer: string;
}

const values = Array.from({ length: 16 }, () => 1);
const simple: Asked = {
  model: "simple",
  body: JSON.stringify({
    inputs: ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data: values })),
  }),
  answer: "OUTPUT0",
};

/** Sends one request, by default to the model `simple`. */
export function inferOnce(
  host: string,
  port: number,
  agent: Agent,
  { model, body }: Asked = simple,
  more: Readonly<Record<string, string>> = {},
): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve) => {
    const headers = { "content-type": "application/json", "content-length": `${body.length}`, ...more };
    const sent = request(
      { host, port, path: `/v2/models/${model}/infer`, method: "POST", headers, agent, timeout: 300_000 },
      (reply) => {
        let text = "";
        reply.setEncoding("utf8");
        reply.on("data", (chunk: string) => (text += chunk));
        reply.on("error", (error) => resolve({ status: 0, text: error.message }));
        reply.on("end", () => resolve({ status: reply.statusCode ?? 0, text }));
      },
    );
    sent.on("timeout", () => sent.destroy(new Error("no reply in five minutes")));
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

  /** @param pauseMs Between an answer and the next request of a connection. */
  constructor(host: string, port: number, asked: Asked = simple, pauseMs = 5) {
    this.#loops = Array.from({ length: 4 }, async () => {
      while (!this.#isStopped) {
        const { status, text } = await inferOnce(host, port, this.#agent, asked);
        if (status === 200 && text.includes(asked.answer)) this.#answered++;
        else this.#failures.push(`${status} ${text.slice(0, 300)}`);
        await new Promise((resolve) => setTimeout(resolve, pauseMs));
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
