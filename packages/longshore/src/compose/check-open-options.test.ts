import { silentObserver, standardPolicy } from "@longshore/core";
import { radios } from "@longshore/core/internal";
import { deviceMonitor, systemClock } from "@longshore/nodejs";
import { describe, expect, it } from "vitest";
import { checkOpenOptions } from "./check-open-options.ts";
import type { ServerOptions } from "../connect/server-options.ts";
import type { DirectoryOptions } from "../connect/directory.ts";
import type { DevicePackages, OpenOptions } from "./open-options.ts";

const credentials = { bearer: () => "token" };
const tls = { authorities: "PEM", certificate: "PEM", key: "PEM", serverName: "edge" };

// `Required` names each option that the type has: one that the check refuses by mistake fails here.
const server: Required<ServerOptions> = {
  address: "http://127.0.0.1:8000",
  id: "edge",
  tier: "edge",
  zone: "eu/de",
  trust: "operated",
  kind: "oip",
  settings: {},
  serves: [{ segment: { model: "narrow", from: "cut", to: "end" }, as: "narrow-tail" }],
  credentials,
  tls,
  metrics: "http://127.0.0.1:8002/metrics",
  grpc: "http://127.0.0.1:8001",
  forwardsTenants: true,
  link: { kind: "wifi", upBitsPerSecond: 1e6 },
  microsPerSecond: 1,
  microsPerRequest: 1,
  microsPerMegabyte: 1,
  microsPerMegabyteIn: 1,
  microsPerMegabyteOut: 1,
  microsPerJoule: 1,
  activeWatts: 1,
};
const directory: Required<DirectoryOptions> = {
  from: "dns:example.test",
  operatorKeys: "key",
  keptIn: "/tmp/endpoints.json",
  maxAgeMs: 1000,
  resolver: { srv: async () => [], txt: async () => [], addresses: async () => [] },
  credentials,
  tls,
};
const packages: Required<DevicePackages> = {
  from: "http://127.0.0.1:8000",
  into: "/tmp/packages",
  maxBytes: 1024,
  operatorKeys: "key",
  wanted: [{ model: "ocr" }, { digest: "sha256:0" }],
  credentials,
  tls,
  source: {
    name: "none",
    manifest: async () => new Uint8Array(),
    file: async () => ({ fromByte: 0, read: async function* () {} }),
  },
  sourceFirst: true,
  againMs: 1000,
  report: () => undefined,
  waitMs: 1000,
};
const everything: Required<OpenOptions> = {
  configFile: "longshore.yaml",
  repository: "models",
  packages,
  servers: ["http://127.0.0.1:8000", server],
  directory,
  dialling: () => ({}),
  runtime: "wasm",
  providers: ["cuda", "cpu"],
  defaults: { objective: "cost" },
  policy: standardPolicy(),
  carbon: { eu: 100, device: { "0-24": 40 } },
  device: {
    battery: () => ({ ratio: 0.5, charging: false }),
    memoryBytes: () => 1024,
    activeWatts: 2,
    idleWatts: 0,
    health: () => ({ strainRatio: 0 }),
    millijoulesPerMs: () => 1,
    radio: radios.lte,
    slots: 1,
  },
  observer: silentObserver,
  checks: {
    sampleRatio: 0.01,
    burst: 8,
    maxBytes: 1024,
    golden: async () => undefined,
    goldenEveryMs: 1000,
    patienceMs: 1000,
    readmitAfter: 3,
    firstPauseMs: 1000,
    longestPauseMs: 2000,
  },
  retry: { mostRounds: 1, firstPauseMs: 50, withoutDeadlineMs: 1000, mostWaiting: 16 },
  beliefs: false,
};

describe("the options of an app", () => {
  it("are all taken", () => {
    checkOpenOptions(everything);
  });

  it.each(Object.keys(everything))("may have %s undefined", (option) => {
    checkOpenOptions({ ...everything, [option]: undefined });
  });

  it("may be a monitor as it is, a directory that is open, and a link of which nothing is learned", () => {
    checkOpenOptions({ device: deviceMonitor({ clock: systemClock() }) });
    checkOpenOptions({ directory: { snapshot: () => undefined } });
    checkOpenOptions({ servers: [{ address: "http://127.0.0.1:8000", link: false }] });
  });

  it("name the fault in the models that a server serves", () => {
    const servers = (serves: unknown) => ({ servers: [{ address: "http://127.0.0.1:8000", serves }] });
    expect(() => checkOpenOptions(servers({ model: "ocr" }))).toThrow("servers[0].serves must be a list");
    expect(() => checkOpenOptions(servers(["ocr"]))).toThrow("servers[0].serves[0] must be an object");
  });
});
