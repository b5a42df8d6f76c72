import { createSocket, type Socket } from "node:dgram";
import type { AddressInfo } from "node:net";
import { afterEach, expect, it, vi } from "vitest";
import { createDirectory, type DirectoryRecord, type LongshoreEvent, seededRandom } from "@longshore/core";
import { directoryContract, testEntry, type TestOperators } from "@longshore/testkit";
import { systemClock } from "../device/index.ts";
import { dnsSource, systemResolver } from "./dns-source.ts";
import { newOperatorKey, operatorRing, operatorSigner } from "./operator-key.ts";

const kinds: Readonly<Record<number, "A" | "TXT" | "SRV" | "other">> = { 1: "A", 16: "TXT", 33: "SRV" };

/** The zone of the tests' name server: answers by `TYPE name`; a number is an error code of DNS. */
type Zone = Map<string, readonly Buffer[] | number>;

function nameBytes(name: string): Buffer {
  const labels = name === "." ? [] : name.split(".");
  return Buffer.concat([
    ...labels.map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)])),
    Buffer.from([0]),
  ]);
}

function srv(target: string, port: number): Buffer {
  return Buffer.concat([Buffer.from([0, 0, 0, 0, port >> 8, port & 255]), nameBytes(target)]);
}

function txt(text: string): Buffer {
  const strings = text.match(/[\s\S]{1,255}/g) ?? [""];
  return Buffer.concat(strings.map((one) => Buffer.concat([Buffer.from([one.length]), Buffer.from(one)])));
}

/** A name server on loopback UDP that answers out of a map (RFC 1035). */
async function nameServer(zone: Zone): Promise<{ readonly address: string; readonly socket: Socket }> {
  const socket = createSocket("udp4");
  socket.on("message", (question, from) => {
    let at = 12;
    const labels: string[] = [];
    while (question[at]) {
      labels.push(question.subarray(at + 1, at + 1 + question[at]!).toString());
      at += 1 + question[at]!;
    }
    const kind = question.readUInt16BE(at + 1);
    const found = zone.get(`${kinds[kind] ?? "other"} ${labels.join(".")}`) ?? zone.get("*") ?? 3;
    const answers = typeof found === "number" ? [] : found;
    const head = Buffer.from(question.subarray(0, 12));
    head.writeUInt16BE(0x8180 | (typeof found === "number" ? found : 0), 2);
    head.writeUInt16BE(1, 4);
    head.writeUInt16BE(answers.length, 6);
    head.writeUInt32BE(0, 8);
    const records = answers.map((data) => {
      const lead = Buffer.from([
        0xc0,
        12,
        kind >> 8,
        kind & 255,
        0,
        1,
        0,
        0,
        0,
        1,
        data.length >> 8,
        data.length & 255,
      ]);
      return Buffer.concat([lead, data]);
    });
    socket.send(Buffer.concat([head, question.subarray(12, at + 5), ...records]), from.port, from.address);
  });
  await new Promise<void>((resolve) => socket.bind(0, "127.0.0.1", resolve));
  return { address: `127.0.0.1:${(socket.address() as AddressInfo).port}`, socket };
}

const key = newOperatorKey();
const operators: TestOperators = {
  operator: operatorSigner(key.privatePem),
  stranger: operatorSigner(newOperatorKey().privatePem),
  ring: operatorRing(key.publicLine),
};
const service = "_longshore._tcp.store.example";

/** A zone of endpoints: one target for each. */
function written(records: Iterable<DirectoryRecord>): Zone {
  const zone: Zone = new Map();
  const targets: Buffer[] = [];
  for (const { signed } of records) {
    const target = `${signed.body.id}.store.example`;
    targets.push(srv(target, 8000));
    zone.set(`TXT _longshore.${target}`, [txt("v=something else"), txt(JSON.stringify(signed))]);
    zone.set(`A ${target}`, [Buffer.from([127, 0, 0, 9])]);
  }
  return zone.set(`SRV ${service}`, targets.length > 0 ? targets : [srv(".", 0)]);
}

directoryContract(
  "DNS",
  operators,
  async (rules) => {
    const zone: Zone = new Map();
    const held = new Map<string, DirectoryRecord>();
    let away = rules.away === true;
    const publish = (_changed: unknown): void => {
      zone.clear();
      // 2: the server failed.
      if (away) zone.set("*", 2);
      else for (const [name, answers] of written(held.values())) zone.set(name, answers);
    };
    publish(undefined);
    const { address, socket } = await nameServer(zone);
    const clock = systemClock();
    return {
      directory: createDirectory({
        ...rules,
        source: dnsSource("store.example", {
          clock,
          random: seededRandom(1),
          resolver: systemResolver([address]),
          everyMs: 5,
        }),
        clock,
        codecs: ["raw"],
      }),
      put: async (record) => publish(held.set(record.signed.body.id, record)),
      drop: async (id) => publish(held.delete(id)),
      fail: async () => publish((away = true)),
      mend: async () => publish((away = false)),
      close: () => new Promise<void>((resolve) => socket.close(() => resolve())),
    };
  },
  { statements: false },
);

const sockets: Socket[] = [];
afterEach(() => sockets.splice(0).forEach((socket) => socket.close()));

it("endpoints without an entry are listed where SRV and A records say, and a name that is gone changes nothing", async () => {
  const zone: Zone = new Map();
  zone.set(`SRV ${service}`, [srv("till.example", 8010), srv("cloud.example", 443)]);
  zone.set("A till.example", [Buffer.from([127, 0, 0, 7])]);
  zone.set("A cloud.example", [Buffer.from([127, 0, 0, 8])]);
  const { address, socket } = await nameServer(zone);
  sockets.push(socket);
  const events: LongshoreEvent[] = [];
  const clock = systemClock();
  await using directory = createDirectory({
    source: dnsSource(service, {
      clock,
      random: seededRandom(1),
      resolver: systemResolver([address]),
      everyMs: 5,
    }),
    clock,
    observer: { record: (event) => events.push(event) },
    codecs: ["raw"],
  });
  await directory.ready;
  const [till] = directory.snapshot().entries;
  expect(till).toMatchObject({
    id: "till.example:8010",
    address: "http://127.0.0.7:8010",
    zone: "unknown",
    trust: "listed",
  });
  // One target that cannot be read is named, and leaves all as it was.
  zone.set("A cloud.example", 2);
  await vi.waitFor(
    () => expect(directory.snapshot().problem).toBe("cloud.example cannot be read: ESERVFAIL"),
    60_000,
  );
  zone.delete(`SRV ${service}`);
  await vi.waitFor(
    () => expect(directory.snapshot().problem).toContain(`${service} cannot be read: ENOTFOUND`),
    60_000,
  );
  expect(directory.snapshot().entries).toHaveLength(2);
  zone.set(`SRV ${service}`, [srv(".", 0)]);
  await vi.waitFor(() => expect(directory.snapshot().entries).toHaveLength(0), 60_000);
  expect(directory.snapshot().problem).toBeUndefined();
});

it("with encryption an endpoint is dialled by its name, and an entry that names an address keeps it", async () => {
  const zone: Zone = new Map();
  const tls = "_longshore-tls._tcp.store.example";
  const { address: _unset, ...body } = testEntry({ id: "named" });
  zone.set(`SRV ${tls}`, [srv("till.example", 8443), srv("other.example", 1)]);
  zone.set("TXT _longshore.till.example", [txt(JSON.stringify({ body }))]);
  zone.set("TXT _longshore.other.example", [txt(JSON.stringify({ body: testEntry({ id: "fixed" }) }))]);
  const { address, socket } = await nameServer(zone);
  sockets.push(socket);
  const clock = systemClock();
  await using directory = createDirectory({
    source: dnsSource(tls, { clock, random: seededRandom(1), resolver: systemResolver([address]) }),
    clock,
    observer: { record: () => undefined },
    codecs: ["raw"],
  });
  await directory.ready;
  const shown = directory.snapshot().entries.map(({ id, address }) => [id, address]);
  expect(shown).toEqual([
    ["named", "https://till.example:8443"],
    ["fixed", "http://127.0.0.1:1"],
  ]);
});

it("a name with several addresses keeps the used one while it has it, in any order", async () => {
  const changes: string[] = [];
  let addresses = ["10.0.0.1", "10.0.0.2"];
  let readings = 0;
  const resolver = {
    srv: async () => [{ name: "till.example", port: 8000 }],
    txt: async () => [],
    addresses: async () => {
      readings++;
      // As name servers do that spread clients over them.
      return (addresses = addresses.toReversed());
    },
  };
  const clock = systemClock();
  await using directory = createDirectory({
    source: dnsSource("store.example", { clock, random: seededRandom(1), resolver, everyMs: 1 }),
    clock,
    observer: {
      record: (event) => void (event.kind === "directory-changed" && changes.push(event.change)),
    },
    codecs: ["raw"],
  });
  await directory.ready;
  const [taken] = directory.snapshot().entries;
  const from = readings;
  await vi.waitFor(() => expect(readings).toBeGreaterThan(from + 5), 60_000);
  expect(changes).toEqual(["added"]);
  addresses = ["10.0.0.3"];
  await vi.waitFor(
    () => expect(directory.snapshot().entries[0]?.address).toBe("http://10.0.0.3:8000"),
    60_000,
  );
  expect(taken?.address).toMatch(/10\.0\.0\.[12]/);
});

it("endpoints on several ports of a host have an entry each, in any order", async () => {
  const { address: _unset, ...behind } = testEntry({ id: "behind" });
  const entryAt = (id: string, port: number, serial = 1): string =>
    JSON.stringify({ body: testEntry({ id, serial, address: `http://till.example:${port}` }) });
  let services = [8000, 8001, 8002].map((port) => ({ name: "till.example", port }));
  let texts = [
    [entryAt("b", 8001)],
    [entryAt("a", 8000, 2)],
    [entryAt("a", 8000)],
    [JSON.stringify({ body: behind })],
  ];
  let readings = 0;
  const resolver = {
    srv: async () => (services = services.toReversed()),
    txt: async () => (texts = [...texts.slice(1), ...texts.slice(0, 1)]),
    addresses: async () => {
      readings++;
      return ["10.0.0.1"];
    },
  };
  const changes: unknown[] = [];
  const clock = systemClock();
  await using directory = createDirectory({
    source: dnsSource("store.example", { clock, random: seededRandom(1), resolver, everyMs: 1 }),
    clock,
    observer: {
      record: (event) =>
        void (
          event.kind === "directory-changed" && changes.push([event.endpoint, event.change, event.serial])
        ),
    },
    codecs: ["raw"],
  });
  await directory.ready;
  const shown = (): unknown => directory.snapshot().entries.map(({ id, address }) => `${id} ${address}`);
  const endpoints = [
    "a http://till.example:8000",
    "b http://till.example:8001",
    "behind http://10.0.0.1:8002",
  ];
  expect(shown()).toEqual(endpoints);
  const from = readings;
  await vi.waitFor(() => expect(readings).toBeGreaterThan(from + 8), 60_000);
  expect(changes).toEqual([
    ["a", "added", 2],
    ["b", "added", 1],
    ["behind", "added", 1],
  ]);
  // Two that name no port: which record is for which endpoint is unknown.
  texts = [...texts, [JSON.stringify({ body: { ...behind, id: "beside" } })]];
  await vi.waitFor(
    () => expect(shown()).toEqual([...endpoints.slice(0, 2), "till.example:8002 http://10.0.0.1:8002"]),
    60_000,
  );
  expect(changes.slice(3, 5)).toEqual([
    ["behind", "awaited", 1],
    ["beside", "awaited", 1],
  ]);
});

it("a name that DNS cannot have is refused", () => {
  const options = { clock: systemClock(), random: seededRandom(1), resolver: systemResolver() };
  for (const name of ["", "a b.example", `${"x".repeat(70)}.example`, "example"]) {
    const made = (): unknown => dnsSource(name, options);
    if (name === "example") expect(made).not.toThrow();
    else expect(made).toThrow(expect.objectContaining({ reason: "invalid-configuration" }) as Error);
  }
});
