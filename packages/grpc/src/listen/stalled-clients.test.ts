import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, beforeAll, describe, expect, it } from "vitest";
import { emptyBody, type Handler } from "@longshore/core";
import { nodeTls } from "@longshore/server";
import { type ManualClock, manualClock, settle } from "@longshore/testkit";
import { type TestAuthority, testAuthority, type TestCertificate } from "@longshore/testkit/certificates";
import { closeAll, listenOn } from "../../test/open-server.ts";
import { flags, frameHead, frameTypes, preface, settingsFrame } from "./http2/frame-words.ts";

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
const block =
  "\x83\x86" +
  field(":path", "/inference.GRPCInferenceService/ModelInfer") +
  field("content-type", "application/grpc");
const headers = (type: number, part: string, flag = 0): string =>
  frameHead(part.length, type, flag, 1) + part;

const handler: Handler = async () => ({ status: 200, headers: {}, body: emptyBody });
const limits = { headersTimeoutMs: 10_000, idleTimeoutMs: 40_000, requestTimeoutMs: 600_000 };

/** Clients that send a text and then stand still; none of them ends its half by itself. */
async function stalled(clock: ManualClock, encrypted: boolean, text: string, clients = 16) {
  const tls = nodeTls({ certificate: server.certificatePem, key: server.keyPem });
  const { port } = await listenOn(handler, { clock, ...limits, ...(encrypted ? { tls } : {}) });
  const all = await Promise.all(
    Array.from({ length: clients }, async () => {
      const to = { port, host: "127.0.0.1", allowHalfOpen: true };
      const socket = encrypted
        ? connectTls({ ...to, ca: authority.certificatePem, ALPNProtocols: ["h2"] })
        : connectTcp(to);
      sockets.push(socket);
      let ended = false;
      let greeted = (): void => undefined;
      const greeting = new Promise<void>((resolve) => (greeted = resolve));
      socket.on("error", () => undefined).on("end", () => (ended = true));
      socket.on("data", () => greeted());
      socket.setNoDelay(true);
      await once(socket, encrypted ? "secureConnect" : "connect");
      await greeting;
      if (text !== "")
        await new Promise<void>((resolve) => void socket.write(text, "latin1", () => resolve()));
      return { socket, ended: () => ended };
    }),
  );
  return all;
}

describe.each([false, true])("a connection (TLS: %s)", (encrypted) => {
  it.each([
    ["sends nothing", "", 10_000],
    ["sends half a preface", preface.slice(0, 9), 10_000],
    ["sends no settings", preface, 10_000],
    ["sends half its settings", preface + settingsFrame([[4, 65_535]]).slice(0, 11), 10_000],
    ["sends half a frame's head", `${hello}\0\0`, 10_000],
    ["sends half a PING", hello + frameHead(8, frameTypes.ping, 0, 0) + "1234", 10_000],
    ["sends half the headers of a call", hello + headers(frameTypes.headers, block.slice(0, 20)), 10_000],
    [
      "stands still in a frame of data",
      hello +
        headers(frameTypes.headers, block, flags.endHeaders) +
        frameHead(1000, frameTypes.data, 0, 1) +
        "some",
      10_000,
    ],
    ["has no calls", hello, 40_000],
  ])("that %s ends in time", async (_what, text, dueMs) => {
    const clock = manualClock();
    const all = await stalled(clock, encrypted, text);
    // Timers are set once the server has read the text.
    for (let turn = 0; turn < 50; turn++) await settle();
    await clock.advance(dueMs * 0.9);
    for (let turn = 0; turn < 10; turn++) await settle();
    expect(all.some(({ ended }) => ended())).toBe(false);
    await clock.advance(dueMs * 0.5);
    await expect.poll(() => all.every(({ ended }) => ended())).toBe(true);
    // The lingering ends, too: closing has nothing to wait for.
    await clock.advance(3000);
    await closeAll();
  });

  it("whose headers come in small frames for ever ends in time", async () => {
    const clock = manualClock();
    const [one] = await stalled(clock, encrypted, hello + headers(frameTypes.headers, "\x83"), 1);
    for (let turn = 0; turn < 5; turn++) {
      await clock.advance(4000);
      one?.socket.write(headers(frameTypes.continuation, "\x83"), "latin1");
      for (let rest = 0; rest < 20; rest++) await settle();
    }
    await expect.poll(() => one?.ended()).toBe(true);
  });

  it("whose data goes on, slowly, is not taken for one that stands still", async () => {
    const clock = manualClock();
    const begin =
      hello + headers(frameTypes.headers, block, flags.endHeaders) + frameHead(1000, frameTypes.data, 0, 1);
    const [one] = await stalled(clock, encrypted, begin, 1);
    for (let rest = 0; rest < 50; rest++) await settle();
    for (let turn = 0; turn < 8; turn++) {
      await clock.advance(4000);
      one?.socket.write("\0", "latin1");
      for (let rest = 0; rest < 20; rest++) await settle();
    }
    expect(one?.ended()).toBe(false);
  });
});
