import { createServer, type Server } from "node:http";
import { type AddressInfo } from "node:net";
import { LongshoreError, type ModelPorts } from "@longshore/core";
import { housekeepingCall } from "@longshore/core/internal";
import { doubleDescription } from "@longshore/testkit";
import { afterEach, expect, it, vi } from "vitest";
import { describedAt, portsAt, stepsMissing } from "./described-at.ts";

const open: Server[] = [];
afterEach(async () => {
  vi.useRealTimers();
  for (const server of open.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

const call = housekeepingCall("test");
const ports: ModelPorts = {
  inputs: [{ name: "x", datatype: "FP32", shape: [-1, 2] }],
  outputs: [{ name: "y", datatype: "FP32", shape: [-1, 2] }],
};
const described = JSON.stringify({ name: "m", versions: ["1"], platform: "", ...ports });

/** A server of the plain protocol. `answer` says what it says of any model, or nothing ever. */
async function listening(
  answer: () => Promise<string | undefined>,
): Promise<{ readonly address: string; readonly kind: "oip"; readonly left: Promise<void> }> {
  const server = createServer((_, reply) => {
    void answer().then((text) => {
      if (text === undefined) return;
      reply.writeHead(text === "" ? 404 : 200, { "content-type": "application/json" }).end(text);
    });
  });
  open.push(server);
  const left = new Promise<void>((resolve) => {
    server.on("connection", (socket) => void socket.on("close", () => resolve()));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  // A server that listens on a port has an address of this form.
  const { port } = server.address() as AddressInfo;
  return { address: `http://127.0.0.1:${port}`, kind: "oip", left };
}

it.each([
  ["an app that asks", async (at) => describedAt(at, "m", undefined, call)],
  ["a pipeline that is read", async (at) => portsAt({ servers: at })("m", undefined, call)],
] satisfies [string, (at: Parameters<typeof describedAt>[0]) => Promise<unknown>][])(
  "a server that never answers is passed over after a while by %s",
  async (_, ask) => {
    const silent = await listening(async () => undefined);
    const good = await listening(async () => described);
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    const asked = ask([silent, good]);
    // A client that has its answer closes the connection.
    await good.left;
    vi.advanceTimersByTime(5000);
    expect(await asked).toMatchObject(ports);
    await silent.left;
  },
);

it("names the servers that never answered, for a model and for a step", async () => {
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  const late = async <T>(ask: (address: string) => Promise<T>): Promise<[T, string]> => {
    let reached = (): void => undefined;
    const asked = new Promise<void>((resolve) => (reached = resolve));
    const { address } = await listening(async () => {
      reached();
      return undefined;
    });
    const answer = ask(address);
    await asked;
    vi.advanceTimersByTime(5000);
    return [await answer, address];
  };
  const [failure, address] = await late((at) =>
    describedAt([{ address: at, kind: "oip" }], "m", undefined, call).catch((thrown: unknown) => thrown),
  );
  expect(LongshoreError.is(failure) && failure.reason).toBe("no-answer");
  const why = (at: string, model: string): string => `${at} did not say within 5 s whether it has ${model}`;
  expect(String(failure)).toContain(why(address, "m"));
  const run = { model: "n", elsewhere: ports };
  const steps = [{ id: "look", run, inputs: {} }];
  const body = { kind: "pipeline", steps, outputs: {} } as const;
  const variants = [{ name: "default", body, agreementRatio: 1 }];
  const pipeline = doubleDescription({ name: "p", variants });
  const [missing, at] = await late((there) =>
    stepsMissing(pipeline, [{ address: there, kind: "oip" }], call),
  );
  expect(missing).toEqual([`step look cannot run at ${at}: ${why(at, "n")}`]);
});

it("sends to all servers at once, and believes the first in order that has the model", async () => {
  let reached = (): void => undefined;
  const asked = new Promise<void>((resolve) => (reached = resolve));
  // Both answer only after the last one has its request.
  const after = (text: string) => async (): Promise<string> => {
    await asked;
    return text;
  };
  const without = await listening(after(""));
  const first = await listening(after(described));
  const last = await listening(async () => {
    reached();
    return described.replaceAll("FP32", "FP16");
  });
  expect(await describedAt([without, first, last], "m", undefined, call)).toMatchObject(ports);
});
