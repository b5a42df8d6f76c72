import { once } from "node:events";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { request } from "node:http";
import { connect } from "node:http2";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Writable } from "node:stream";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { graphBuilder, writeModel } from "@longshore/graph";
import { grpcStream } from "@longshore/testkit";
import { killAll, listening, type ServerProcess } from "../../test/processes.ts";

/** One input of more than 1 GiB, in pieces of 1 MiB of which each holds one value over and over. */
const inputBytes = 2 ** 30 + 1001;
const pieceBytes = 2 ** 20;
const valueOf = (at: number): number => (Math.floor(at / pieceBytes) * 7 + 1) % 251;
/** The values that the model picks: the ends of some pieces, of the last one, too. */
const positions: readonly number[] = [
  ...Array.from({ length: 64 }, (_, index) => 16 * index * pieceBytes).flatMap((at) => [
    at,
    at + pieceBytes - 1,
  ]),
  2 ** 30,
  inputBytes - 1,
];
const expected = positions.map(valueOf);

/** The most memory that a server may take: the message once, and itself (1.19 GiB were measured over both). */
const mostServerBytes = inputBytes + 2 ** 29;

let folder: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-large-"));
  const build = graphBuilder();
  const x = build.input("x", "UINT8", ["bytes"]);
  const at = build.weights("at", "INT64", [positions.length], BigInt64Array.from(positions, BigInt));
  build.output(build.node("Gather", [x, at], { outputs: ["y"] }), "UINT8", [positions.length]);
  await mkdir(join(folder, "pick", "1"), { recursive: true });
  await writeFile(join(folder, "pick", "1", "model.onnx"), writeModel(build.model({ name: "pick" })));
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(killAll);

const start = (): Promise<ServerProcess> =>
  listening("serve", folder, "--port", "0", "--grpc-port", "0", "--max-body", String(2 ** 31 - 1));

/** Writes `head` and the input, no faster than they are taken. */
async function send(to: Writable, head: Uint8Array): Promise<void> {
  to.write(head);
  for (let at = 0; at < inputBytes; at += pieceBytes) {
    const piece = Buffer.alloc(Math.min(pieceBytes, inputBytes - at), valueOf(at));
    if (!to.write(piece)) await once(to, "drain");
  }
  to.end();
}

async function bytesOf(from: AsyncIterable<Buffer>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of from) pieces.push(piece);
  return Buffer.concat(pieces);
}

async function overHttp({ address }: ServerProcess): Promise<readonly number[]> {
  const parameters = { binary_data_size: inputBytes };
  const head = Buffer.from(
    JSON.stringify({ inputs: [{ name: "x", datatype: "UINT8", shape: [inputBytes], parameters }] }),
  );
  const sent = request(`${address}/v2/models/pick/infer`, {
    method: "POST",
    headers: {
      "content-length": head.byteLength + inputBytes,
      "inference-header-content-length": head.byteLength,
    },
  });
  const [[response]] = await Promise.all([
    once(sent, "response") as Promise<[AsyncIterable<Buffer>]>,
    send(sent, head),
  ]);
  const told = JSON.parse((await bytesOf(response)).toString()) as {
    readonly outputs: readonly { readonly data: readonly number[] }[];
  };
  return told.outputs[0]?.data ?? [];
}

const varint = (value: number): readonly number[] =>
  value < 128 ? [value] : [(value % 128) + 128, ...varint(Math.floor(value / 128))];

/** A field of protobuf with a length, or its beginning where the content follows. */
const field = (number: number, content: Uint8Array | string, length?: number): Buffer => {
  const bytes = Buffer.from(content as Uint8Array);
  return Buffer.concat([Buffer.from([number * 8 + 2, ...varint(length ?? bytes.byteLength)]), bytes]);
};

async function overGrpc({ grpc }: ServerProcess): Promise<readonly number[]> {
  const session = connect(`http://${grpc}`);
  try {
    const stream = grpcStream(session, "ModelInfer", {});
    const tensor = [field(1, "x"), field(2, "UINT8"), field(3, Buffer.from(varint(inputBytes)))];
    const head = Buffer.concat([
      field(1, "pick"),
      field(5, Buffer.concat(tensor)),
      field(7, Buffer.alloc(0), inputBytes),
    ]);
    const prefix = Buffer.alloc(5);
    prefix.writeUInt32BE(head.byteLength + inputBytes, 1);
    const [reply] = await Promise.all([bytesOf(stream), send(stream, Buffer.concat([prefix, head]))]);
    // Raw contents come last.
    return [...reply.subarray(-expected.length)];
  } finally {
    session.destroy();
  }
}

/** The most memory that a process has had, where the system tells. */
async function mostMemoryOf(pid: number): Promise<number | undefined> {
  const text = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const found = /^VmHWM:\s+(\d+) kB$/m.exec(text)?.[1];
  return found === undefined ? undefined : Number(found) * 1024;
}

// Some seconds, and ten times as long where others keep the processor busy: `npm run check:all`.
describe.runIf(process.env["LONGSHORE_LARGE_MESSAGES"])("a message of more than 1 GiB", () => {
  it.each([
    ["HTTP", overHttp],
    ["gRPC", overGrpc],
  ])(
    "is answered over %s where the limit is lifted, in bounded memory",
    { timeout: 900_000 },
    async (_over, ask) => {
      const server = await start();
      expect(await ask(server)).toEqual(expected);
      const most = await mostMemoryOf(server.pid);
      if (most !== undefined) expect(most).toBeLessThan(mostServerBytes);
      server.stop();
      expect(await server.exited).toBe(0);
    },
  );
});
