import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type RunningPeer, startGateway } from "@longshore/conformance";
import type { LongshoreEvent } from "@longshore/core";
import { fanOut, housekeepingCall } from "@longshore/core/internal";
import { type Offloader, openOffloader } from "longshore";
import { type Ask, follow, ownClient, rawClient } from "./clients.ts";
import { jumpingClock, type Victim } from "./faults.ts";
import type { Fleet } from "./fleet.ts";
import { meddler } from "./meddler.ts";
import { smallDisk } from "./small-disk.ts";
import { type Latest, latestLogged, latestSeen } from "./timeline.ts";

/** Share of requests that gateways and client library also run at a second server. */
const checkRatio = 0.05;
/** Requests of each client before any measurement, and how many of them at once: compilation takes as many. */
const warmUps = 2000;
const warmUpsAtOnce = 8;

/** Sends requests until the serving code is compiled and the clients know the endpoints. */
async function warmUp(ask: Ask): Promise<void> {
  await fanOut(warmUps, warmUpsAtOnce, housekeepingCall("warm-up"), () => follow(ask, 1, 0));
}

/** A client of a fleet that has only seen the fleet healthy so far. */
export interface Crew extends AsyncDisposable {
  readonly clients: readonly (readonly [name: string, ask: Ask])[];
  readonly offloader: Offloader;
  /** One of these something happens to. */
  readonly victims: readonly Victim[];
  /** When the client library put an endpoint into quarantine, by `performance.now`. */
  readonly quarantinesMs: readonly number[];
  /** Of the client library and of gateways: the waiting times of the latest request. */
  readonly timelines: readonly (readonly [name: string, of: Latest])[];
  /** Golden inputs and comparisons so far, of gateways and client library. */
  checks(): Promise<{ readonly golden: number; readonly compared: number }>;
}

/** Samples of a counter in a page of metrics: labels and value. */
async function samplesOf(gateway: string, name: string): Promise<readonly (readonly [string, number])[]> {
  const page = await (await fetch(`http://${gateway}/metrics`)).text();
  return page
    .split("\n")
    .filter((line) => line.startsWith(`${name}{`))
    .map((line) => [line, Number(line.slice(line.lastIndexOf(" ")))]);
}

/**
 * Two gateways with raw clients, and the client library. `confirm`: each answer is one that two servers gave. `logs`: gateways tell of
 * each request what it waited for, which takes time of the processors.
 */
export async function openCrew(fleet: Fleet, confirm: boolean, logs: boolean): Promise<Crew> {
  const servers = fleet.victims.map(({ before }) => before.address);
  const gateways: RunningPeer[] = [];
  const quarantinesMs: number[] = [];
  const own = { golden: 0, compared: 0 };
  const seen = latestSeen();
  const folder = logs ? mkdtempSync(join(tmpdir(), "longshore-bench-gateways-")) : undefined;
  const timelines: Crew["timelines"][number][] = [["offloader", seen]];
  const record = (event: LongshoreEvent): void => {
    if (event.kind === "endpoint-quarantined") quarantinesMs.push(performance.now());
    if (event.kind === "answer-checked") own[event.against === "golden input" ? "golden" : "compared"]++;
    seen.record(event);
  };
  for (let index = 0; index < 2; index++) {
    const checks = ["--golden", fleet.repository, "--check-ratio", String(checkRatio)];
    const errorsTo = folder === undefined ? undefined : join(folder, `gateway-${index}`);
    const logged =
      errorsTo === undefined ? { args: checks } : { args: [...checks, "--log-level", "verbose"], errorsTo };
    gateways.push(await startGateway({ servers, ...logged }));
    if (errorsTo !== undefined) timelines.push([`gateway ${index + 1}`, latestLogged(errorsTo)]);
  }
  const addresses = gateways.map(({ http }) => http);
  const raw = rawClient(addresses, confirm);
  const offloader = await openOffloader({
    servers: servers.map((one) => `http://${one}`),
    checks: { sampleRatio: checkRatio },
    defaults: { confirm },
    observer: { record },
  });
  const mark = confirm ? ", confirmed" : "";
  const clients: Crew["clients"] = [
    [`raw, two gateways${mark}`, raw],
    [`offloader${mark}`, ownClient(offloader)],
  ];
  for (const [, ask] of clients) await warmUp(ask);
  return {
    clients,
    offloader,
    victims: fleet.victims,
    quarantinesMs,
    timelines,
    async checks() {
      let { golden, compared } = own;
      for (const gateway of addresses) {
        for (const [labels, value] of await samplesOf(gateway, "longshore_answer_checks_total")) {
          if (labels.includes('by="golden input"')) golden += value;
          else compared += value;
        }
      }
      return { golden, compared };
    },
    async [Symbol.asyncDispose]() {
      raw[Symbol.dispose]();
      await offloader.close();
      await Promise.all(gateways.map((one) => one.close()));
      if (folder !== undefined) rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** The client library with two gateways alone: the effect of faults of one of these. */
export async function openGatewayCrew(fleet: Fleet): Promise<Crew> {
  const servers = fleet.victims.map(({ before }) => before.address);
  const opened: AsyncDisposable[] = [];
  const victims: Victim[] = [];
  const seen = latestSeen();
  const timelines: Crew["timelines"][number][] = [["offloader", seen]];
  const close = async (): Promise<void> => {
    for (const one of opened.toReversed()) await one[Symbol.asyncDispose]();
  };
  try {
    const env = { NODE_OPTIONS: `--import=${jumpingClock}` };
    for (let index = 0; index < 2; index++) {
      const disk = smallDisk();
      if (disk) opened.push({ [Symbol.asyncDispose]: async () => disk[Symbol.dispose]() });
      const errorsTo = disk ? join(disk.folder, "log") : undefined;
      const logged = errorsTo === undefined ? {} : { args: ["--log-level", "verbose"], errorsTo };
      const gateway = await startGateway({ servers, env, ...logged });
      if (errorsTo !== undefined) timelines.push([`gateway ${index + 1}`, latestLogged(errorsTo)]);
      opened.push({ [Symbol.asyncDispose]: () => gateway.close() });
      if (!gateway.pid) throw new Error("a gateway has no process");
      const before = await meddler(gateway.http);
      opened.push(before);
      victims.push({ pid: gateway.pid, before, disk: disk?.folder });
    }
    const offloader = await openOffloader({
      servers: victims.map(({ before }) => `http://${before.address}`),
      observer: seen,
    });
    opened.push({ [Symbol.asyncDispose]: () => offloader.close() });
    const ask = ownClient(offloader);
    await warmUp(ask);
    return {
      clients: [["offloader, two gateways", ask]],
      offloader,
      victims,
      quarantinesMs: [],
      timelines,
      checks: () => Promise.resolve({ golden: 0, compared: 0 }),
      [Symbol.asyncDispose]: close,
    };
  } catch (thrown) {
    await close();
    throw thrown;
  }
}
