import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { nameServer, type Program } from "../install/index.ts";
import { writeRepository } from "../models.ts";
import { freePort, type RunningPeer, startGateway, startOwn } from "../servers/index.ts";
import { asked, inFolder, type Open, type Part, type PartContext } from "./part.ts";

const domain = "store.example";

/** The zone in which these servers are endpoints; records live for a second. */
function zone(servers: readonly RunningPeer[]): string {
  const lines = servers.flatMap(({ http }, at) => [
    `_longshore._tcp SRV 0 0 ${http.split(":")[1]} endpoint-${at}`,
    `endpoint-${at} A 127.0.0.1`,
  ]);
  return [
    `$ORIGIN ${domain}.`,
    "$TTL 1",
    "@ SOA ns admin 1 60 60 60 1",
    "@ NS ns",
    "ns A 127.0.0.1",
    ...lines,
    "",
  ].join("\n");
}

/** A name server in the foreground, for one zone. */
function start({ path, env }: Program, folder: string, port: number): ChildProcess {
  return spawn(path, ["-d", "-c", join(folder, "nsd.conf"), "-p", `${port}`], {
    env: { ...process.env, ...env },
    stdio: "ignore",
  });
}

async function configure(folder: string, text: string): Promise<void> {
  await writeFile(join(folder, "store.zone"), text);
  const quoted = (name: string): string => JSON.stringify(join(folder, name));
  await writeFile(
    join(folder, "nsd.conf"),
    [
      "server:",
      "  ip-address: 127.0.0.1",
      '  username: ""',
      '  chroot: ""',
      '  database: ""',
      `  zonesdir: ${JSON.stringify(folder)}`,
      `  pidfile: ${quoted("nsd.pid")}`,
      `  xfrdfile: ${quoted("xfrd.state")}`,
      `  zonelistfile: ${quoted("zone.list")}`,
      "remote-control:",
      "  control-enable: no",
      "zone:",
      `  name: ${domain}`,
      '  zonefile: "store.zone"',
      "",
    ].join("\n"),
  );
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  child.kill("SIGKILL");
  await once(child, "exit");
}

async function metric({ http }: RunningPeer, name: string): Promise<number> {
  const text = await (await fetch(`http://${http}/metrics`)).text();
  return Number(new RegExp(`^${name}(?:\\{[^}]*\\})? (\\S+)$`, "m").exec(text)?.[1] ?? NaN);
}

/** Waits until it holds, up to two minutes: DNS is read every half minute. */
async function until(holds: () => Promise<boolean>): Promise<boolean> {
  for (let round = 0; round < 240; round++) {
    if (await holds().catch(() => false)) return true;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  return false;
}

async function check(context: PartContext, folder: string, open: Open[]): Promise<void> {
  const told = (name: string, good: boolean): void =>
    context.told({ name, outcome: good ? "passed" : "failed", detail: "" });
  const program = await nameServer();
  const repository = join(folder, "models");
  await writeRepository(repository);
  const own = async (): Promise<RunningPeer> => {
    const one = await startOwn({ repository });
    open.push(one);
    return one;
  };
  const [first, second] = [await own(), await own()];
  const port = await freePort();
  await configure(folder, zone([first]));
  let server = start(program, folder, port);
  open.push({ close: () => end(server) });
  const gateway = await startGateway({
    servers: [],
    args: ["--no-joins", "--directory", `dns://127.0.0.1:${port}/${domain}`],
  });
  open.push(gateway);
  const data = Array.from({ length: 16 }, (_, at) => at);
  const inputs = ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data }));
  const answers = async (): Promise<boolean> => {
    const request = { method: "POST", body: JSON.stringify({ inputs }) };
    return (await fetch(`http://${gateway.http}/v2/models/simple/infer`, request)).ok;
  };
  const entries = (): Promise<number> => metric(gateway, "longshore_directory_entries");
  const age = (): Promise<number> => metric(gateway, "longshore_directory_age_seconds");
  told(
    "a gateway finds the server that the zone names",
    (await until(async () => (await entries()) === 1)) && (await answers()),
  );
  await end(server);
  told(
    "a name server that is killed is missed, and the age said",
    await until(async () => (await age()) > 40),
  );
  told("and its server is used all the same", (await entries()) === 1 && (await answers()));
  // A zone that cannot be read is answered with SERVFAIL.
  await configure(folder, "this is no zone\n");
  server = start(program, folder, port);
  const before = await age();
  const failed = await until(async () => (await age()) > before + 40);
  told("one that fails changes nothing", failed && (await entries()) === 1 && (await answers()));
  await end(server);
  await configure(folder, zone([first, second]));
  server = start(program, folder, port);
  told(
    "what the zone says when it is back is caught up",
    await until(async () => (await entries()) === 2 && (await age()) < 40),
  );
}

/** A directory in a real name server, which dies, fails, and changes its records. */
export const dnsPart: Part = {
  name: "dns",
  async run(context) {
    if (!asked(context, "dns")) return;
    await inFolder("dns", (folder, open) => check(context, folder, open));
  },
};
