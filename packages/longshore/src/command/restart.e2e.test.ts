import { cp, mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { once } from "node:events";
import { Agent, request } from "node:http";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { float32View } from "@longshore/core";
import { loopModel } from "@longshore/testkit";
import { writeDouble, writeTotal } from "../../test/models.ts";
import { killAll, listening, type ServerProcess, started } from "../../test/processes.ts";
import { openOffloader } from "../compose/open-offloader.ts";

let folder: string;

beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "longshore-restart-"));
  await writeDouble(folder);
  await writeTotal(folder);
  await mkdir(join(folder, "loop", "1"), { recursive: true });
  await writeFile(join(folder, "loop", "1", "model.onnx"), loopModel());
  // A pipeline whose answer takes a while, to be under way when the signal comes.
  await mkdir(join(folder, "late"));
  await writeFile(
    join(folder, "late", "model.yaml"),
    `
inputs: [{ name: TEXT, datatype: BYTES, shape: [-1] }, { name: DELAY, datatype: UINT32, shape: [-1] }]
outputs: [{ name: OUT, datatype: BYTES, shape: [1] }]
pipeline:
  steps: [{ id: repeat, transform: repeat, inputs: { values: TEXT, delays: DELAY } }]
  outputs: { OUT: repeat.value }
`,
  );
});
afterAll(() => rm(folder, { recursive: true, force: true }));
afterEach(killAll);

/** A server in a process of its own, once it listens; on a port that is free, unless `more` names one. */
function start(...more: readonly string[]): Promise<ServerProcess> {
  return listening("serve", folder, "--port", "0", ...more);
}

interface Reply {
  readonly status: number;
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  readonly text: string;
}

function send(agent: Agent, address: string, path: string, body?: object): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const sent = request(`${address}${path}`, { method: body ? "POST" : "GET", agent }, (response) => {
      let text = "";
      response
        .setEncoding("utf8")
        .on("data", (chunk: string) => (text += chunk))
        .on("end", () => resolve({ status: response.statusCode ?? 0, headers: response.headers, text }))
        .on("error", reject);
    });
    sent.on("error", reject);
    sent.end(body && JSON.stringify(body));
  });
}

/** Between requests of a client: without it, they would take the cores from the servers that are to start. */
const pauseMs = 5;

const double = { inputs: [{ name: "x", datatype: "FP32", shape: [1, 4], data: [1, 2, 3, 4] }] };

/** Asks for two answers, of which the second takes so long, until the first one is out; or both are. */
async function answering(agent: Agent, { address }: ServerProcess, delayMs: number) {
  const state = { isOver: false };
  const body = { TEXT: ["first", "second"], DELAY: [0, delayMs] };
  const late = send(agent, address, "/v2/models/late/generate_stream", body);
  const over = (): void => void (state.isOver = true);
  late.then(over, over);
  const metrics = async (): Promise<string> => (await send(agent, address, "/metrics")).text;
  while (!state.isOver && !(await metrics()).includes("longshore_load_in_flight 1"));
  return { late, state };
}

describe("a server at its stop signal", () => {
  /**
   * Stops a server while an answer has been under way for this long; undefined if it ended before the server had the whole
   * request.
   */
  async function stopped(delayMs: number) {
    const server = await start("--drain-seconds", "120", "--linger-seconds", "0");
    const agent = new Agent({ keepAlive: true });
    expect((await send(agent, server.address, "/v2/health/ready")).status).toBe(200);
    const { late, state } = await answering(agent, server, delayMs);
    server.stop();
    const asked = async (): Promise<readonly Reply[]> => {
      let ready: Reply;
      do ready = await send(agent, server.address, "/v2/health/ready");
      while (ready.status === 200);
      const live = await send(agent, server.address, "/v2/health/live");
      return [ready, live, await send(agent, server.address, "/v2/models/double/infer", double)];
    };
    // A server that is gone answers nothing.
    const replies = await asked().catch(() => undefined);
    const { isOver } = state;
    const { status, text } = await late;
    expect(status).toBe(200);
    expect(text.match(/data: .*"OUT":"(\w+)"/g)).toHaveLength(2);
    expect(await server.exited).toBe(0);
    agent.destroy();
    return isOver ? undefined : replies;
  }

  it("is not ready at once, refuses new work while it listens, finishes work under way, and exits with 0", async () => {
    const replies = (await stopped(1500)) ?? (await stopped(10_000)) ?? (await stopped(50_000));
    expect(replies).toMatchObject([
      { status: 503, headers: { connection: "close" } },
      { status: 200 },
      { status: 503, headers: { "retry-after": "1" } },
    ]);
    expect(JSON.parse(replies?.at(-1)?.text ?? "")).toMatchObject({ reason: "shutting-down" });
  });

  it("exits with 0 when its time has passed, with any work under way", async () => {
    const server = await start("--drain-seconds", "0.2");
    const agent = new Agent({ keepAlive: true });
    const { late } = await answering(agent, server, 50_000);
    server.stop();
    expect(await server.exited).toBe(0);
    await late.catch(() => undefined);
    agent.destroy();
  });

  it("ends when its time has passed, also in the middle of a run that cannot be ended", async () => {
    const server = await start("--drain-seconds", "0.2");
    const agent = new Agent({ keepAlive: true });
    const trips = { name: "trips", datatype: "INT64", shape: [], data: [1e12] };
    const stuck = send(agent, server.address, "/v2/models/loop/infer", { inputs: [trips] }).catch(
      (thrown: unknown) => thrown,
    );
    const runs = /^longshore_load_cpu_ratio (?!0$)/m;
    while (!runs.test((await send(agent, server.address, "/metrics")).text));
    server.stop();
    // By the signal: no process exits with a code while native code runs in it.
    expect(await server.exited).toBe(null);
    await stuck;
    agent.destroy();
  });

  it("ends at once at a second signal, and not at the same signal delivered twice", async () => {
    const server = await start("--drain-seconds", "120");
    const agent = new Agent({ keepAlive: true });
    const { late } = await answering(agent, server, 50_000);
    const toldMs = performance.now();
    const again = setInterval(() => server.stop("SIGINT"), 50);
    expect(await server.exited).toBe(null);
    clearInterval(again);
    expect(performance.now() - toldMs).toBeGreaterThan(1000);
    await late.catch(() => undefined);
    agent.destroy();
  });
});

it("a server that is stopped while it loads models finishes the requests under way", async () => {
  const starting = `${folder}-starting`;
  await cp(join(folder, "late"), join(starting, "late"), { recursive: true });
  for (const name of ["1", "warmup"]) await mkdir(join(starting, "slow", name), { recursive: true });
  await writeFile(join(starting, "slow", "1", "model.onnx"), loopModel());
  await writeFile(join(starting, "slow", "warmup", "trips"), new BigInt64Array([10n ** 12n]));
  await writeFile(
    join(starting, "slow", "model.yaml"),
    "warmUp: [{ inputs: { trips: { datatype: INT64, shape: [], file: warmup/trips } } }]\n",
  );
  const free = createServer().listen(0, "127.0.0.1");
  await once(free, "listening");
  // An address of TCP: it listens on a port.
  const { port } = free.address() as AddressInfo;
  free.close();
  const own = ["--port", `${port}`, "--no-grpc-port", "--drain-seconds", "120"];
  const { child } = started("serve", starting, "--model-control", "poll", ...own);
  const at = `http://127.0.0.1:${port}/v2`;
  const status = (path: string): Promise<number> =>
    fetch(`${at}${path}`).then(
      (reply) => reply.status,
      () => 0,
    );
  while ((await status("/models/late/ready")) !== 200) await sleep(5);
  expect(await status("/health/ready")).toBe(503);
  const body = JSON.stringify({ TEXT: ["first", "second"], DELAY: [0, 1500] });
  // Its head comes with the first answer.
  const late = await fetch(`${at}/models/late/generate_stream`, { method: "POST", body });
  child.kill("SIGTERM");
  expect((await late.text()).match(/data: .*"OUT":"(\w+)"/g)).toHaveLength(2);
  await rm(starting, { recursive: true });
});

describe("a command that waits for a server that says nothing", () => {
  it.each([
    ["serve", 0, ["--packages-from"], ["--package", "double", "--packages-into"]],
    ["rollout", 1, ["status", "--at"], []],
  ])("%s ends at its stop signal", async (name, code, to, more) => {
    const silent = createServer().listen(0, "127.0.0.1");
    await once(silent, "listening");
    // An address of TCP: the server listens on a port.
    const { port } = silent.address() as AddressInfo;
    const own = name === "serve" ? [folder, "--port", "0", "--no-grpc-port"] : [];
    const into = more.length > 0 ? [...more, join(folder, "cache")] : [];
    const { child, exited, notes } = started(name, ...own, ...to, `http://127.0.0.1:${port}`, ...into);
    const [socket] = (await once(silent, "connection")) as [Socket];
    // A process that ends may leave without a word.
    socket.on("error", () => undefined);
    child.kill("SIGTERM");
    expect([await exited, notes]).toEqual([
      code,
      [expect.stringMatching(/stopped before it had started|cancelled/) as string],
    ]);
    socket.destroy();
    silent.close();
  });
});

describe("a rolling restart", () => {
  it("fails no request of a client that tries again elsewhere", async () => {
    let servers = [await start(), await start()];
    const agent = new Agent({ keepAlive: true });
    const counts = { answered: 0, refused: 0, failed: 0, over: false };
    const answersMore = async (by: number): Promise<void> => {
      const wanted = counts.answered + by;
      while (counts.answered < wanted) await sleep(1);
    };

    /** As a balancer with retries does: the same request to the next server, for whatever did not answer it. */
    async function ask(turn: number): Promise<void> {
      for (let attempt = 0; attempt < 4; attempt++) {
        const server = servers[(turn + attempt) % servers.length]!;
        const reply = await send(agent, server.address, "/v2/models/double/infer", double).catch(
          () => undefined,
        );
        if (reply?.status === 200) {
          expect(JSON.parse(reply.text)).toMatchObject({ outputs: [{ data: [2, 4, 6, 8] }] });
          counts.answered++;
          return;
        }
        counts.refused++;
      }
      counts.failed++;
    }
    async function client(turn: number): Promise<void> {
      while (!counts.over) {
        await ask(turn++);
        await sleep(pauseMs);
      }
    }
    const clients = [0, 1, 2, 3].map(client);
    for (const index of [0, 1]) {
      const before = servers[index]!;
      await answersMore(50);
      before.stop();
      expect(await before.exited).toBe(0);
      const after = await start();
      servers = servers.map((server) => (server === before ? after : server));
    }
    await answersMore(50);
    counts.over = true;
    await Promise.all(clients);
    agent.destroy();
    expect(counts.failed).toBe(0);
    // It did meet servers that were leaving.
    expect(counts.refused).toBeGreaterThan(0);
    for (const server of servers) server.stop();
    expect(await Promise.all(servers.map(({ exited }) => exited))).toEqual([0, 0]);
  });

  it(
    "of every server of a gateway fails no request of clients that never retry",
    { timeout: 600_000 },
    async () => {
      const servers = await Promise.all([start(), start(), start()]);
      const addresses = servers.map(({ address }) => address);
      const gateway = await listening(
        "gateway",
        "--port",
        "0",
        "--data-class",
        "internal",
        ...addresses.flatMap((address) => ["--at", address]),
      );
      const agent = new Agent({ keepAlive: true });
      const counts = { answered: 0, over: false };
      const wrong: string[] = [];
      async function client(): Promise<void> {
        while (!counts.over) {
          const reply = await send(agent, gateway.address, "/v2/models/double/infer", double).catch(
            (thrown: unknown): Reply => ({ status: 0, headers: {}, text: String(thrown) }),
          );
          if (reply.status === 200 && reply.text.includes("[2,4,6,8]")) counts.answered++;
          else wrong.push(`${reply.status} ${reply.text}`);
          await sleep(pauseMs);
        }
      }
      const answersMore = async (by: number): Promise<void> => {
        const wanted = counts.answered + by;
        while (counts.answered < wanted && wrong.length === 0) await sleep(1);
      };
      const clients = [0, 1, 2, 3].map(client);
      for (const [index, before] of servers.entries()) {
        await answersMore(100);
        before.stop();
        expect(await before.exited).toBe(0);
        await answersMore(20);
        servers[index] = await start("--port", new URL(before.address).port);
        // The gateway has found it again, so that the next one may leave.
        while (!servers[index].told.some((line) => line.includes("offers")) && wrong.length === 0) {
          await answersMore(5);
        }
      }
      counts.over = true;
      await Promise.all(clients);
      agent.destroy();
      expect(wrong).toEqual([]);
      for (const server of [gateway, ...servers]) server.stop();
      expect(await Promise.all([gateway, ...servers].map(({ exited }) => exited))).toEqual([0, 0, 0, 0]);
    },
  );

  // Three quarters of a minute on two cores, and ten times as long where others keep them busy: `npm run check:all`.
  it.runIf(process.env["LONGSHORE_WHOLE_FLEET"])(
    "of all servers and both gateways before them fails no request of the client library and doubles no step",
    { timeout: 600_000 },
    async () => {
      const servers = await Promise.all([start(), start(), start()]);
      const at = servers.flatMap(({ address }) => ["--at", address]);
      const gateway = (port = "0"): Promise<ServerProcess> =>
        listening("gateway", "--port", port, "--data-class", "internal", "--linger-seconds", "1", ...at);
      const gateways = await Promise.all([gateway(), gateway()]);
      const offloader = await openOffloader({
        servers: gateways.map(({ address }) => ({ address, trust: "operated" as const })),
        defaults: { dataClass: "internal" },
      });
      const counts = { answered: 0, steps: 0, over: false };
      const wrong: string[] = [];
      const failed = (thrown: unknown): void => void wrong.push(String(thrown));
      async function client(): Promise<void> {
        while (!counts.over) {
          const { outputs } = await offloader.infer("double", { x: Float32Array.of(1, 2, 3, 4) });
          const y = [...float32View(outputs.get("y")!)].join(" ");
          if (y === "2 4 6 8") counts.answered++;
          else wrong.push(y);
        }
      }
      async function steps(): Promise<void> {
        await using sequence = offloader.sequence("total");
        for (let meant = 1; !counts.over; meant++) {
          const { outputs } = await sequence.next({ x: Float32Array.of(1) });
          const [total] = float32View(outputs.get("total")!);
          if (total !== meant) wrong.push(`total ${total} for ${meant}`);
          counts.steps++;
        }
      }
      const work = [client, client, client, steps].map((one) => one().catch(failed));
      const goesOn = async (): Promise<void> => {
        const [answers, stepped] = [counts.answered + 50, counts.steps + 20];
        while ((counts.answered < answers || counts.steps < stepped) && wrong.length === 0) await sleep(1);
      };
      const restart = async (
        all: ServerProcess[],
        again: (port: string) => Promise<ServerProcess>,
      ): Promise<void> => {
        for (const [index, before] of all.entries()) {
          await goesOn();
          before.stop();
          expect(await before.exited).toBe(0);
          await goesOn();
          const after = await again(new URL(before.address).port);
          all[index] = after;
          // The clients have found it again, so that the next one may leave.
          while (!after.told.some((line) => line.includes("offers")) && wrong.length === 0) await goesOn();
        }
      };
      await restart(servers, (port) => start("--port", port));
      await restart(gateways, gateway);
      await goesOn();
      counts.over = true;
      await Promise.all(work);
      await offloader.close();
      expect(wrong).toEqual([]);
      for (const server of [...gateways, ...servers]) server.stop();
      expect(await Promise.all([...gateways, ...servers].map(({ exited }) => exited))).toEqual([
        0, 0, 0, 0, 0,
      ]);
    },
  );
});
