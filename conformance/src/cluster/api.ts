import { readFileSync } from "node:fs";
import { Agent, request } from "node:https";

/** Where an API server is and who asks it. */
export interface Access {
  readonly host: string;
  readonly port: number;
  /** File with the certificates that sign the server's. */
  readonly caFile: string;
  readonly token: string;
}

/** An object of the API, of which this program reads some fields. */
export interface ApiObject {
  readonly metadata: {
    readonly name: string;
    readonly uid: string;
    readonly deletionTimestamp?: string;
    readonly deletionGracePeriodSeconds?: number;
    readonly labels?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
}

/** Requests to the API server, in JSON. */
export class ClusterApi {
  readonly #access: Access;
  readonly #agent: Agent;

  constructor(access: Access) {
    this.#access = access;
    this.#agent = new Agent({ keepAlive: true, ca: readFileSync(access.caFile) });
  }

  /** Sends a request; a text is sent as it is. Throws for a status of 400 and above, with what the server says. */
  ask<T = unknown>(
    method: string,
    path: string,
    body?: unknown,
    type: string = "application/json",
  ): Promise<T> {
    const { host, port, token } = this.#access;
    return new Promise((resolve, reject) => {
      const text = body === undefined || typeof body === "string" ? (body ?? "") : JSON.stringify(body);
      // Node.js does not state the length of a body of DELETE by itself.
      const headers = {
        authorization: `Bearer ${token}`,
        "content-type": type,
        "content-length": `${Buffer.byteLength(text)}`,
      };
      const sent = request({ host, port, path, method, headers, agent: this.#agent }, (reply) => {
        let told = "";
        reply.setEncoding("utf8");
        reply.on("data", (chunk: string) => (told += chunk));
        reply.on("error", reject);
        reply.on("end", () => {
          const status = reply.statusCode ?? 0;
          if (status >= 400) reject(new Error(`${method} ${path}: ${status} ${told.slice(0, 500)}`));
          // The caller states what the path answers with.
          else resolve((told.startsWith("{") ? JSON.parse(told) : told) as T);
        });
      });
      sent.on("error", reject);
      sent.end(text);
    });
  }

  async list(path: string): Promise<readonly ApiObject[]> {
    return (await this.ask<{ readonly items: readonly ApiObject[] }>("GET", path)).items;
  }

  merge(path: string, change: unknown): Promise<unknown> {
    return this.ask("PATCH", path, change, "application/merge-patch+json");
  }

  close(): void {
    this.#agent.destroy();
  }
}
