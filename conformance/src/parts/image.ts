import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { type ClientRequest, type IncomingMessage, request } from "node:http";
import { join } from "node:path";
import { Unavailable } from "../install/index.ts";
import { writeRepository } from "../models.ts";
import {
  buildOwnImage,
  freePort,
  openPodman,
  ownImage,
  type Podman,
  podmanError,
  restricted,
} from "../servers/index.ts";
import { asked, inFolder, lastWords, type Part, type PartContext } from "./part.ts";

/** The most that the image may take, in bytes. */
const mostImageBytes = 220e6;
/** How long a server in a container may take to be ready, in milliseconds. */
const readyMs = 120_000;

const model = "/v2/models/simple/infer";
const values = Array.from({ length: 16 }, () => 1);
const body = JSON.stringify({
  inputs: ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data: values })),
});

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

function expectThat(holds: boolean, told: string): void {
  if (!holds) throw new Error(told);
}

/** A container of the image that serves the repository. */
interface Container {
  readonly name: string;
  readonly port: number;
}

async function start(podman: Podman, repository: string, name: string): Promise<Container> {
  const port = await freePort();
  const { code, err } = await podman.run([
    "run",
    "--detach",
    `--name=${name}`,
    ...restricted,
    `--volume=${repository}:/models:ro`,
    ownImage,
    "serve",
    "/models",
    `--port=${port}`,
    "--no-grpc-port",
    "--insecure-no-identity",
  ]);
  if (code === podmanError) throw new Unavailable(`no container runs here: ${lastWords(err)}`);
  expectThat(code === 0, `podman run ended with ${code}: ${lastWords(err)}`);
  const untilMs = performance.now() + readyMs;
  for (;;) {
    const ready = await fetch(`http://127.0.0.1:${port}/v2/health/ready`).then(
      ({ ok }) => ok,
      () => false,
    );
    if (ready) return { name, port };
    if (performance.now() > untilMs) {
      const { out, err: told } = await podman.run(["logs", name]);
      throw new Error(`it was not ready in ${readyMs} ms: ${lastWords(out, told)}`);
    }
    await pause(100);
  }
}

async function inspect(podman: Podman, name: string, format: string): Promise<string> {
  return (await podman.run(["inspect", name, `--format=${format}`])).out.trim();
}

/** The image's size, user and content. */
async function checkImage(podman: Podman): Promise<string> {
  const [bytes = "", user] = (await inspect(podman, ownImage, "{{.Size}} {{.User}}")).split(" ");
  const megabytes = (Number(bytes) / 1e6).toFixed(0);
  expectThat(Number(bytes) < mostImageBytes, `it takes ${megabytes} MB, and at most 220 are allowed`);
  expectThat(user === "65532:65532", `its user is ${user}`);
  return `${megabytes} MB`;
}

/** The process has no rights, and answers. */
async function checkRights(podman: Podman, { name, port }: Container): Promise<string> {
  const pid = await inspect(podman, name, "{{.State.Pid}}");
  const status = await readFile(`/proc/${pid}/status`, "utf8");
  const told = (key: string): string => new RegExp(`^${key}:\\s*(.*)$`, "m").exec(status)?.[1] ?? "";
  expectThat(/^65532\t65532\t65532\t65532$/.test(told("Uid")), `its user is ${told("Uid")}`);
  for (const set of ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"]) {
    expectThat(/^0+$/.test(told(set)), `${set} is ${told(set)}`);
  }
  expectThat(told("NoNewPrivs") === "1", "it may gain privileges");
  expectThat(told("NSpid").endsWith("\t1"), `in its container it is process ${told("NSpid")}`);
  const reply = await fetch(`http://127.0.0.1:${port}${model}`, { method: "POST", body });
  expectThat(reply.status === 200, `an inference was answered with ${reply.status}`);
  return `process 1 with user 65532, ${Math.round(Number.parseInt(told("VmRSS"), 10) / 1000)} MB resident`;
}

/** A request whose body is under way: it has been accepted once the server asks for the rest. */
async function beginRequest(port: number): Promise<ClientRequest> {
  const open = request({
    host: "127.0.0.1",
    port,
    path: model,
    method: "POST",
    headers: { "content-length": Buffer.byteLength(body), expect: "100-continue" },
  });
  open.flushHeaders();
  await once(open, "continue");
  open.write(body.slice(0, 10));
  return open;
}

/** SIGTERM reaches process 1, which refuses new work, finishes what is under way, and exits with 0. */
async function checkDrain(podman: Podman, { name, port }: Container): Promise<string> {
  const open = await beginRequest(port);
  const startedMs = performance.now();
  const stopped = podman.run(["stop", "--time=60", name]);
  for (;;) {
    const ready = await fetch(`http://127.0.0.1:${port}/v2/health/ready`).then(
      ({ status }) => status,
      () => 0,
    );
    if (ready !== 200) break;
    expectThat(performance.now() - startedMs < readyMs, "it stays ready after SIGTERM");
    await pause(50);
  }
  open.end(body.slice(10));
  const [reply] = (await once(open, "response")) as [IncomingMessage];
  reply.resume();
  expectThat(reply.statusCode === 200, `the request under way was answered with ${reply.statusCode}`);
  const { code, err } = await stopped;
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  expectThat(code === 0, `podman stop ended with ${code}: ${lastWords(err)}`);
  const exit = await inspect(podman, name, "{{.State.ExitCode}}");
  expectThat(exit === "0", `it ended with ${exit}`);
  return `stopped in ${seconds} s with exit code 0`;
}

/** Without identity nothing is served beyond this machine. */
async function checkRefusal(podman: Podman, repository: string): Promise<string> {
  const { code, out, err } = await podman.run([
    "run",
    "--rm",
    ...restricted,
    `--volume=${repository}:/models:ro`,
    ownImage,
  ]);
  expectThat(code !== 0 && /identity/.test(out + err), `it ended with ${code}: ${lastWords(out, err)}`);
  return lastWords(out, err);
}

async function check(context: PartContext, podman: Podman, folder: string): Promise<void> {
  const told = async (name: string, work: () => Promise<string>): Promise<void> => {
    if (!asked(context, name)) return;
    try {
      context.told({ name, outcome: "passed", detail: await work() });
    } catch (thrown) {
      if (thrown instanceof Unavailable) throw thrown;
      const detail = thrown instanceof Error ? thrown.message : String(thrown);
      context.told({ name, outcome: "failed", detail });
    }
  };
  const repository = join(folder, "models");
  await writeRepository(repository);
  await buildOwnImage(podman, folder);
  await told("the image is small and its user is not root", () => checkImage(podman));
  const container = await start(podman, repository, "served");
  await told("it serves with a read-only root and without capabilities", () =>
    checkRights(podman, container),
  );
  await told("it drains at SIGTERM as process 1", () => checkDrain(podman, container));
  await told("it refuses to serve without identity", () => checkRefusal(podman, repository));
}

/** The container image, built without a registry and run by podman with the rights of restricted Pod Security. */
export const imagePart: Part = {
  name: "image",
  run: (context) =>
    inFolder("image", async (folder, open) => {
      const podman = await openPodman(folder);
      open.push(podman);
      await check(context, podman, folder);
    }),
};
