import { connect, type Socket } from "node:net";

/** A reply as far as a load generator looks at it. */
export interface Reply {
  readonly status: number;
  /** Status line and headers as they came. */
  readonly head: string;
  readonly body: Buffer;
}

interface Pending {
  resolve(reply: Reply): void;
  reject(error: Error): void;
}

/**
 * One keep-alive connection of HTTP/1.1, one request at a time. Nothing but what a load generator needs, so that little of the
 * machine goes to it: `node:http` costs several times as much for each request. The body is written whole, even if the server
 * answers meanwhile, as plain clients do.
 */
export class Connection {
  readonly #socket: Socket;
  #pending: Pending | undefined;
  #chunks: Buffer[] = [];
  #bytes = 0;
  #expected = -1;
  #status = 0;
  #head = "";
  #headerEnd = 0;
  #unsent = false;
  closed = false;

  constructor(port: number) {
    this.#socket = connect({ port, host: "127.0.0.1", noDelay: true });
    this.#socket.on("data", (chunk: Buffer) => this.#received(chunk));
    this.#socket.on("error", (error) => this.#failed(error));
    this.#socket.on("close", () => this.#failed(new Error("the connection was closed")));
  }

  /** Whether another request can be sent: the last one was answered and all of it has left. */
  get idle(): boolean {
    return !this.closed && !this.#pending && !this.#unsent;
  }

  /** Sends one request. Fails where the connection has been closed. */
  send(head: string, body: Buffer): Promise<Reply> {
    if (this.closed) return Promise.reject(new Error("the connection was closed"));
    return new Promise((resolve, reject) => {
      this.#pending = { resolve, reject };
      this.#unsent = true;
      this.#socket.cork();
      this.#socket.write(head);
      this.#socket.write(body, () => void (this.#unsent = false));
      this.#socket.uncork();
    });
  }

  close(): void {
    this.closed = true;
    this.#socket.destroy();
  }

  #failed(error: Error): void {
    this.closed = true;
    const pending = this.#pending;
    this.#pending = undefined;
    pending?.reject(error);
  }

  #received(chunk: Buffer): void {
    this.#chunks.push(chunk);
    this.#bytes += chunk.byteLength;
    if (this.#expected < 0) this.#readHead();
    if (this.#expected >= 0 && this.#bytes >= this.#headerEnd + this.#expected) {
      const all = Buffer.concat(this.#chunks);
      const body = all.subarray(this.#headerEnd, this.#headerEnd + this.#expected);
      const reply = { status: this.#status, head: this.#head, body };
      this.#chunks = [];
      this.#bytes = 0;
      this.#expected = -1;
      const pending = this.#pending;
      this.#pending = undefined;
      pending?.resolve(reply);
    }
  }

  #readHead(): void {
    const all =
      this.#chunks.length === 1 ? (this.#chunks[0] ?? Buffer.alloc(0)) : Buffer.concat(this.#chunks);
    this.#chunks = [all];
    const end = all.indexOf("\r\n\r\n");
    if (end < 0) return;
    const head = all.toString("latin1", 0, end);
    this.#head = head;
    this.#status = Number(head.slice(9, 12));
    this.#headerEnd = end + 4;
    this.#expected = Number(/\r\ncontent-length: (\d+)/i.exec(head)?.[1] ?? 0);
  }
}
