import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { create, toBinary } from "@bufbuild/protobuf";
import { nodeTls } from "@longshore/server";
import { type ManualClock, manualClock, settle } from "@longshore/testkit";
import { type TestAuthority, testAuthority, type TestCertificate } from "@longshore/testkit/certificates";
import { doubling } from "../../test/client.ts";
import { closeAll, openServer } from "../../test/open-server.ts";
import {
  codes,
  flags,
  frameHead,
  frameTypes,
  numberFrame,
  preface,
  settings,
  settingsFrame,
} from "./http2/frame-words.ts";
import { ModelInferRequestSchema } from "../proto/inference_pb.ts";
import type { GrpcListenOptions } from "./options.ts";

let authority: TestAuthority;
let server: TestCertificate;
beforeAll(async () => {
  authority = await testAuthority("ours");
  server = await authority.issue({ name: "server", hosts: ["localhost"], addresses: ["127.0.0.1"] });
});

const sockets: Socket[] = [];
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy();
  await closeAll();
});

const hello = preface + settingsFrame([]);
const field = (name: string, value: string): string =>
  `\0${String.fromCharCode(name.length)}${name}${String.fromCharCode(value.length)}${value}`;
const block = (path: string): string =>
  `\x83\x86${field(":path", path)}${field("content-type", "application/grpc")}`;
const infer = "/inference.GRPCInferenceService/ModelInfer";
const live = "/inference.GRPCInferenceService/ServerLive";
const begin = (stream: number, path: string, flag: number = flags.endHeaders): string =>
  frameHead(block(path).length, frameTypes.headers, flag, stream) + block(path);
const data = (stream: number, payload: string, flag = 0): string =>
  frameHead(payload.length, frameTypes.data, flag, stream) + payload;
const framed = (bytes: Uint8Array): string => {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(bytes.byteLength, 1);
  return Buffer.concat([prefix, bytes]).toString("latin1");
};
const doubled = framed(toBinary(ModelInferRequestSchema, create(ModelInferRequestSchema, doubling([1]))));
const call = (stream: number, path: string, message: string): string =>
  begin(stream, path) + data(stream, message, flags.endStream);
const goAway = (code: number): string => `\0\0\0${String.fromCharCode(code)}`;

async function world(
  encrypted: boolean,
  change: Partial<GrpcListenOptions> = {},
  clock: ManualClock = manualClock(),
) {
  const tls = nodeTls({ certificate: server.certificatePem, key: server.keyPem });
  const { listening } = await openServer(undefined, { clock, ...(encrypted ? { tls } : {}), ...change });
  const dial = (from = "127.0.0.1") => {
    const to = { port: listening.port, host: "127.0.0.1", localAddress: from, allowHalfOpen: true };
    const socket = encrypted
      ? connectTls({ ...to, ca: authority.certificatePem, ALPNProtocols: ["h2"] })
      : connectTcp(to);
    sockets.push(socket);
    let heard = "";
    let over = false;
    let look = (): void => undefined;
    socket.on("error", () => undefined).setNoDelay(true);
    socket.on("data", (chunk: Buffer) => {
      heard += chunk.toString("latin1");
      look();
    });
    const end = (): void => {
      over = true;
      look();
    };
    socket.on("end", end).on("close", end);
    return {
      socket,
      over: () => over,
      heard: () => heard,
      /** The text received once it holds `text`, or the connection has ended. */
      until: (text: string): Promise<string> =>
        new Promise((resolve) => {
          look = () => {
            if (over || heard.includes(text)) resolve(heard);
          };
          look();
        }),
    };
  };
  /** Makes a call over a connection of its own. */
  const ask = (path: string, message: string, from?: string): Promise<string> => {
    const one = dial(from);
    one.socket.write(hello + call(1, path, message), "latin1");
    return one.until("grpc-status").finally(() => one.socket.destroy());
  };
  return { clock, dial, ask };
}

/** The status of a reply: trailers are written without a table. */
const statusOf = (heard: string): string => /grpc-status[^]([0-9]+)/.exec(heard)?.[1] ?? "none";
const opened = (socket: Socket, encrypted: boolean): Promise<unknown> =>
  Promise.race([once(socket, encrypted ? "secureConnect" : "connect"), once(socket, "close")]);

describe.each([false, true])("a port for gRPC (TLS: %s)", (encrypted) => {
  it("that is full answers health probes only, and all again once a connection closes", async () => {
    const { dial, ask } = await world(encrypted, { maxConnections: 3, maxConnectionsPerAddress: 3 });
    const all = [dial(), dial(), dial()];
    await Promise.all(all.map(({ socket }) => opened(socket, encrypted)));
    expect(statusOf(await ask(live, framed(new Uint8Array(0))))).toBe("0");
    expect(statusOf(await ask("/grpc.health.v1.Health/Check", framed(new Uint8Array(0))))).toBe("0");
    const refused = await ask(infer, doubled);
    expect(statusOf(refused)).toBe("14");
    expect(refused).toContain("all 3 connections of this port are in use");
    all[0]?.socket.destroy();
    await expect.poll(async () => statusOf(await ask(infer, doubled))).toBe("0");
  });

  it("serves a client and probes during a flood of connections of every kind, which has an end", async () => {
    const { clock, dial, ask } = await world(encrypted, {
      maxConnections: 120,
      maxConnectionsPerAddress: 40,
      // Handshakes take a while on a busy machine.
      headersTimeoutMs: encrypted ? 3000 : 300,
      idleTimeoutMs: 300,
      requestTimeoutMs: 600,
      replyTimeoutMs: 300,
    });
    const kinds = [
      "",
      preface.slice(0, 5),
      preface,
      hello,
      `${hello}\0`,
      hello + begin(1, infer, 0),
      hello + begin(1, infer) + frameHead(900, frameTypes.data, 0, 1),
      hello + begin(1, infer),
      hello + call(1, infer, doubled),
    ];
    const moving = setInterval(() => void clock.advance(50), 50);
    const attackers = encrypted ? 420 : 2100;
    for (let at = 0; at < attackers; at++) {
      const { socket } = dial(`127.0.0.${10 + (at % 2)}`);
      socket.pause();
      socket.write(kinds[at % kinds.length] ?? "", "latin1");
      if (at % 210 !== 209) continue;
      await opened(socket, encrypted);
      expect(statusOf(await ask(infer, doubled, "127.0.0.3"))).toBe("0");
      expect(statusOf(await ask(live, framed(new Uint8Array(0)), "127.0.0.10"))).toBe("0");
    }
    await expect
      .poll(async () => statusOf(await ask(infer, doubled, "127.0.0.10")), { interval: 100 })
      .toBe("0");
    clearInterval(moving);
  });

  const many = (text: string, times = 3000): string => text.repeat(times);
  it.each([
    ["PING", many(frameHead(8, frameTypes.ping, 0, 0) + "12345678")],
    ["SETTINGS", many(settingsFrame([]))],
    ["acknowledged settings", many(frameHead(0, frameTypes.settings, flags.ack, 0))],
    ["PRIORITY", many(frameHead(5, frameTypes.priority, 0, 1) + "\0\0\0\0\0")],
    ["WINDOW_UPDATE", many(numberFrame(frameTypes.window, 0, 1))],
    ["frames of unknown types", many(frameHead(0, 77, 0, 0))],
    ["empty data", begin(1, infer) + many(data(1, ""))],
    ["padding", begin(1, infer) + many(frameHead(1, frameTypes.data, flags.padded, 1) + "\0")],
    [
      "resets",
      Array.from(
        { length: 1500 },
        (_, at) => begin(2 * at + 1, infer) + numberFrame(frameTypes.reset, 2 * at + 1, codes.cancel),
      ).join(""),
    ],
    ["CONTINUATION", begin(1, infer, 0) + many(frameHead(0, frameTypes.continuation, 0, 1))],
  ])("ends a connection that floods it with %s", async (_what, text) => {
    const { dial, ask } = await world(encrypted);
    const one = dial();
    one.socket.write(hello + text, "latin1");
    expect(await one.until(goAway(codes.enhanceYourCalm))).toContain(goAway(codes.enhanceYourCalm));
    expect(statusOf(await ask(infer, doubled))).toBe("0");
  });

  it("does not expand a table of headers without limit", async () => {
    const { dial, ask } = await world(encrypted);
    const one = dial();
    // A field of 3 kB is put into the table, and named 2,000 times.
    const value = "y".repeat(3000);
    const long = `\x40\x01x\x7f${String.fromCharCode(0x80 | ((3000 - 127) & 127), (3000 - 127) >> 7)}${value}`;
    const bomb = block(infer) + long + "\xbe".repeat(2000);
    one.socket.write(
      hello + frameHead(bomb.length, frameTypes.headers, flags.endHeaders, 1) + bomb,
      "latin1",
    );
    const reset = numberFrame(frameTypes.reset, 1, codes.enhanceYourCalm);
    expect(await one.until(reset)).toContain(reset);
    expect(statusOf(await ask(infer, doubled))).toBe("0");
  });

  it("gives up replies that a client leaves no window for", async () => {
    const { clock, dial } = await world(encrypted, { replyTimeoutMs: 1000, idleTimeoutMs: 5000 });
    const one = dial();
    one.socket.write(
      preface + settingsFrame([[settings.initialWindowSize, 0]]) + call(1, infer, doubled),
      "latin1",
    );
    // The headers of the reply need no window.
    await one.until("grpc-accept-encoding");
    for (let rest = 0; rest < 50; rest++) await settle();
    const reset = numberFrame(frameTypes.reset, 1, codes.cancel);
    await clock.advance(1500);
    expect(await one.until(reset)).toContain(reset);
    // Without calls the connection is idle.
    await clock.advance(8000);
    await expect.poll(() => one.over()).toBe(true);
  });
});
