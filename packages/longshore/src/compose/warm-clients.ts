import { connect, type Socket } from "node:net";
import { warmModel, warmWidth } from "./warm-model.ts";

/** Sends requests over one connection, one after the other, until `wanted` says no. Resolves with how many were answered. */
export type WarmClient = (port: number, wanted: () => boolean) => Promise<number>;

/** How replies on a connection are separated. */
interface Exchange {
  readonly hello: Buffer;
  /** The next request. */
  request(): Buffer;
  /** How many of the bytes are a whole reply; 0 while it has not come. Throws where it is no good answer. */
  replied(bytes: Buffer): number;
}

/** Sends and reads by `exchange`. Rejects when the connection breaks, or an answer is not as it should be. */
function asking(port: number, wanted: () => boolean, exchange: Exchange): Promise<number> {
  return new Promise((resolve, reject) => {
    const socket: Socket = connect(port, "127.0.0.1").setNoDelay(true);
    let answered = 0;
    let behind: Buffer = Buffer.alloc(0);
    const next = (): void => {
      if (wanted()) socket.write(exchange.request());
      else socket.end(() => resolve(answered));
    };
    socket.on("connect", () => {
      if (exchange.hello.byteLength > 0) socket.write(exchange.hello);
      next();
    });
    socket.on("error", reject);
    socket.on("close", () => reject(new Error("the connection was closed")));
    socket.on("data", (chunk: Buffer) => {
      behind = behind.byteLength > 0 ? Buffer.concat([behind, chunk]) : chunk;
      try {
        const length = exchange.replied(behind);
        if (length === 0) return;
        behind = behind.subarray(length);
        answered++;
        next();
      } catch (thrown) {
        socket.destroy();
        reject(thrown);
      }
    });
  });
}

const values = Buffer.from(new Float32Array(warmWidth).fill(1).buffer);

/** Binary requests over HTTP/1.1. */
export const overHttp: WarmClient = (port, wanted) => {
  const json = JSON.stringify({
    inputs: [
      {
        name: "x",
        datatype: "FP32",
        shape: [1, warmWidth],
        parameters: { binary_data_size: values.byteLength },
      },
    ],
    outputs: [{ name: "y", parameters: { binary_data: true } }],
  });
  const head = [
    `POST /v2/models/${warmModel}/infer HTTP/1.1`,
    "host: localhost",
    "content-type: application/octet-stream",
    `inference-header-content-length: ${json.length}`,
    `content-length: ${json.length + values.byteLength}`,
  ];
  const request = Buffer.concat([Buffer.from(`${head.join("\r\n")}\r\n\r\n${json}`), values]);
  return asking(port, wanted, {
    hello: Buffer.alloc(0),
    request: () => request,
    replied(bytes) {
      const end = bytes.indexOf("\r\n\r\n");
      if (end < 0) return 0;
      const text = bytes.toString("latin1", 0, end);
      const length = Number(/\r\ncontent-length: (\d+)/i.exec(text)?.[1] ?? 0);
      if (bytes.byteLength < end + 4 + length) return 0;
      if (!text.startsWith("HTTP/1.1 200"))
        throw new Error(
          `the answer was ${statusOf(text)}: ${errorOf(bytes.subarray(end + 4, end + 4 + length))}`,
        );
      return end + 4 + length;
    },
  });
};

const statusOf = (head: string): string => head.slice("HTTP/1.1 ".length, head.indexOf("\r\n"));

/** The error of a reply in JSON; its length, if it is no such reply. */
function errorOf(body: Buffer): string {
  try {
    const { error } = JSON.parse(body.toString("utf8")) as { readonly error?: unknown };
    if (typeof error === "string") return error;
  } catch {
    // Told by its length.
  }
  return `${body.byteLength} bytes`;
}

const frame = (type: number, flags: number, stream: number, payload: Buffer): Buffer => {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.byteLength, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
};
/** A field of a message of Protocol Buffers whose wire type is a length and bytes. */
const field = (number: number, content: Buffer): Buffer => {
  const length = content.byteLength;
  const size = length < 128 ? [length] : [(length & 127) | 128, length >> 7];
  return Buffer.concat([Buffer.from([number * 8 + 2, ...size]), content]);
};
/** A header that is in no table. */
const header = (name: string, value: string): Buffer =>
  Buffer.from(
    `\0${String.fromCharCode(name.length)}${name}${String.fromCharCode(value.length)}${value}`,
    "latin1",
  );

/** `ModelInfer` over gRPC. */
export const overGrpc: WarmClient = (port, wanted) => {
  const text = (content: string): Buffer => Buffer.from(content);
  const tensor = Buffer.concat([
    field(1, text("x")),
    field(2, text("FP32")),
    field(3, Buffer.from([1, warmWidth])),
  ]);
  const message = Buffer.concat([field(1, text(warmModel)), field(5, tensor), field(7, values)]);
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.byteLength, 1);
  const data = Buffer.concat([prefix, message]);
  // POST and http, from the static table.
  const block = Buffer.concat([
    Buffer.from([0x83, 0x86]),
    header(":path", "/inference.GRPCInferenceService/ModelInfer"),
    header("content-type", "application/grpc"),
    header("te", "trailers"),
  ]);
  let stream = -1;
  return asking(port, wanted, {
    hello: Buffer.concat([
      Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"),
      // An initial window of 2^30 for each stream, and as much for the connection.
      frame(4, 0, 0, Buffer.from([0, 4, 0x40, 0, 0, 0])),
      frame(8, 0, 0, Buffer.from([0x3f, 0, 0, 0])),
    ]),
    request() {
      stream += 2;
      return Buffer.concat([frame(1, 4, stream, block), frame(0, 1, stream, data)]);
    },
    replied(bytes) {
      for (let at = 0; at + 9 <= bytes.byteLength;) {
        const end = at + 9 + bytes.readUIntBE(at, 3);
        if (end > bytes.byteLength) return 0;
        const [type = 0, flags = 0] = bytes.subarray(at + 3, at + 5);
        if (type === 3 || type === 7) throw new Error("the call was broken off");
        // Trailers end a reply.
        if (type === 1 && (flags & 1) !== 0 && bytes.readUInt32BE(at + 5) === stream) {
          if (!bytes.toString("latin1", at, end).includes("grpc-status\x010"))
            throw new Error("the call failed");
          return end;
        }
        at = end;
      }
      return 0;
    },
  });
};
