import { describe, expect, it } from "vitest";
import { bytesTensor, codecSet, rawCodec, silentObserver, tensorsOf, textElements } from "@longshore/core";
import { createRegistry, wireRoutes } from "@longshore/core/internal";
import { systemClock } from "@longshore/nodejs";
import { doubleDescription, doubleEndpoint } from "@longshore/testkit";
import { createAllowanceLeases, LocalAllowances } from "../quota/index.ts";
import { createHandler, type ModelOverride } from "../api/index.ts";
import { on } from "../../test/on-port.ts";

async function served() {
  const loads: (ModelOverride | undefined)[] = [];
  const opened: string[] = [];
  const changes: unknown[] = [];
  const endpoint = doubleEndpoint([
    {
      description: doubleDescription({
        name: "echo",
        inputs: [{ name: "text_input", datatype: "BYTES", shape: [-1] }],
        outputs: [{ name: "text_output", datatype: "BYTES", shape: [-1] }],
      }),
      run: (inputs) => tensorsOf(bytesTensor("text_output", textElements(inputs.get("text_input")!))),
    },
  ]);
  const handler = createHandler({
    endpoint,
    codecs: codecSet(rawCodec),
    clock: systemClock(),
    observer: silentObserver,
    modelControl: true,
    modelUploads: true,
    // The memory of a refused request would soon keep all others out.
    maxBufferedBytes: 64 * 2 ** 20,
    repository: {
      index: async () => [{ name: "echo", version: "1", state: "UNAVAILABLE", reason: "" }],
      load: async (_model, _version, _call, override) => void loads.push(override),
      unload: async () => undefined,
    },
    sharedMemory: {
      async open(key) {
        opened.push(key);
        const nothing = async (): Promise<void> => undefined;
        return { byteLength: 64, read: nothing, write: nothing, close: nothing };
      },
    },
    directory: createRegistry({
      clock: systemClock(),
      instance: "i",
      codecs: ["raw"],
      admits: { zone: "eu", trust: "listed" },
    }),
    leases: createAllowanceLeases(new LocalAllowances(() => ({ tenants: {} }), systemClock()), systemClock()),
    rollouts: {
      find: () => undefined,
      list: () => [],
      change: async (_name, change) => void changes.push(change),
      follow: () => undefined,
      ended: () => undefined,
      compared: () => undefined,
    },
  });
  const { port } = await on(handler);
  const ask = async (path: string, body: string) => {
    const reply = await fetch(`http://127.0.0.1:${port}${path}`, { method: "POST", body });
    const text = await reply.text();
    return { status: reply.status, text, reason: (JSON.parse(text) as { reason?: string }).reason };
  };
  return { ask, loads, opened, changes };
}

/** Routes that read no JSON. */
const others: ReadonlySet<string> = new Set(["prepare", "probe"]);
const paths = wireRoutes
  .filter(({ kind, method }) => method === "POST" && !others.has(kind))
  .map(({ path }) =>
    path
      .replace("{model}", path.includes("rollouts") ? "alias" : "echo")
      .replace("{version}", "1")
      .replace("{variant}", "default")
      .replace("{from}", "start")
      .replace("{to}", "end")
      .replace("{region}", "r"),
  );
const load = "/v2/repository/models/echo/load";
const generate = "/v2/models/echo/generate";

describe("hostile JSON", () => {
  const bodies: readonly [string, string][] = [
    ["brackets that do not end", "[".repeat(60_000)],
    ["objects that do not end", '{"a":'.repeat(12_000)],
    ["a deep array", `{"parameters":${"[".repeat(30_000)}1${"]".repeat(30_000)}}`],
    ["deep objects", `{"text_input":${'{"a":'.repeat(9000)}1${"}".repeat(9000)}}`],
    ["arrays one too deep", `{"a":${"[".repeat(32)}${"]".repeat(32)}}`],
    ["a key twice", '{"secret":1,"secret":1}'],
    ["a key twice, once escaped", '{"secret":1,"\\u0073ecret":1}'],
    ["a key twice inside", '{"parameters":{"secret":{"a":[{"b":1,"b":2}]}}}'],
    ["__proto__ twice", '{"__proto__":{},"__proto__":{}}'],
    ["nothing like JSON", '{"secret":secret}'],
  ];
  it.each(paths)(
    "%s refuses texts that are too deep, repeated or no JSON, with one code and without quoting them",
    async (path) => {
      const { ask, loads, opened, changes } = await served();
      for (const [what, body] of bodies) {
        const { status, reason, text } = await ask(path, body);
        expect({ status, reason }, what).toEqual({ status: 400, reason: "invalid-input" });
        expect(text).not.toMatch(/secret|RangeError|stack|\.[jt]s\b|at line|position/);
      }
      expect([loads, opened, changes]).toEqual([[], [], []]);
      const good = await ask(generate, '{"text_input":"still here"}');
      expect(good.text).toContain('"text_output":"still here"');
    },
  );

  it("reads __proto__ as a name like any other, and its content as unwanted", async () => {
    const { ask, loads, opened } = await served();
    const proto = (members: string): string => `{"__proto__":{${members}}}`;
    expect((await ask(generate, proto('"text_input":"x"'))).reason).toBe("invalid-input");
    expect((await ask("/v2/repository/index", proto('"ready":true'))).text).toContain("UNAVAILABLE");
    await ask(load, proto('"parameters":{"config":"{}"}'));
    const inside = `{"parameters":${proto('"config":"{}","file:1/m.onnx":"AAAA"')}}`;
    expect((await ask(load, inside)).reason).toBe("invalid-input");
    expect(loads).toEqual([undefined]);
    const register = "/v2/systemsharedmemory/region/r/register";
    expect((await ask(register, proto('"key":"/k","byte_size":8'))).reason).toBe("invalid-input");
    expect((await ask("/v2/logging", proto('"log_info":false'))).reason).toBe("invalid-input");
    expect(opened).toEqual([]);
    expect("ready" in {}).toBe(false);
  });

  it("refuses numbers out of range, and takes NUL in text for a character", async () => {
    const { ask, opened } = await served();
    const register = "/v2/systemsharedmemory/region/r/register";
    const wrong: readonly [string, string][] = [
      [generate, '{"text_input":"x","temperature":1e999}'],
      [generate, '{"text_input":"x","parameters":{"k":-1e999}}'],
      [register, '{"key":"/k","byte_size":1e999}'],
      [register, '{"key":"/k","byte_size":9007199254740993}'],
      [register, '{"key":"/k","byte_size":8,"offset":-1}'],
      ["/v2/logging", '{"log_verbose_level":1e999}'],
      ["/v2/trace/setting", '{"trace_rate":1e999}'],
      ["/v2/models/echo/trace/setting", '{"trace_count":-1e999}'],
      ["/v2/repository/models/echo/unload", '{"parameters":{"unload_dependents":1e999}}'],
      ["/v2/rollouts/alias", '{"revision":1e999,"change":{}}'],
      ["/v2/logging", '{"log_file":false,"\\u0000":1}'],
      ["/v2/directory/join", '{"schemaVersion":1e999,"id":"\\u0000"}'],
      [load, '{"parameters":{"config":"{}","file:1/\\u0000":"AAAA"}}'],
    ];
    for (const [path, body] of wrong) {
      expect((await ask(path, body)).reason, body).toBe("invalid-input");
    }
    expect(opened).toEqual([]);
    expect((await ask(generate, '{"text_input":"a\\u0000b"}')).text).toContain('"a\\u0000b"');
    expect((await ask("/v2/models/%00/generate", "{}")).reason).toBe("unknown-model");
  });

  it("accepts no more than a route has a use for", async () => {
    const { ask } = await served();
    const long = (bytes: number): string => JSON.stringify({ text_input: "x".repeat(bytes) });
    expect((await ask(generate, long(1_000_000))).status).toBe(200);
    const large: readonly [string, string][] = [
      [generate, long(2 ** 20)],
      ["/v2/logging", long(65_536)],
      [load, long(2 ** 21)],
      [load, " ".repeat(2 ** 22)],
      ["/v2/repository/models/echo/unload", long(2 ** 20)],
    ];
    for (const [path, body] of large) expect((await ask(path, body)).reason, path).toBe("body-too-large");
    const many = JSON.stringify({ text_input: Array.from({ length: 10_000 }, () => "x") });
    expect((await ask(generate, many)).reason).toBe("invalid-input");
    const keys = Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`k${index}`, 1]));
    expect((await ask(generate, JSON.stringify({ text_input: "x", ...keys }))).reason).toBe("invalid-input");
  });
});

describe("files in a load", () => {
  it("come as they were sent, in pieces and with the escapes that JSON allows", async () => {
    const { ask, loads } = await served();
    const file = Buffer.from(Array.from({ length: 1_000_001 }, (_, index) => (index * index * 31) >> 3));
    const texts: readonly [string, Uint8Array][] = [
      [file.toString("base64"), file],
      [file.toString("base64").replaceAll("/", "\\/").replaceAll("=", ""), file],
      ["", Buffer.alloc(0)],
      ["AQ", Buffer.of(1)],
      ["AQ==", Buffer.of(1)],
      ["AQI", Buffer.of(1, 2)],
      ["\\u0041Q\\nI D", Buffer.of(1, 2, 3)],
    ];
    for (const [text, bytes] of texts) {
      const body = `{"parameters" : {"config":"{}", "\\u0066ile:2/a" :\n"AAAA","file:1/m" : "${text}" }}`;
      expect((await ask(load, body)).status, text.slice(0, 20)).toBe(200);
      const files = loads.pop()?.files;
      expect(Buffer.from(files?.get("1/m") ?? "none").equals(bytes), text.slice(0, 20)).toBe(true);
      expect(files?.get("2/a")).toEqual(new Uint8Array(3));
    }
  });

  it("are refused where they are not base64, come twice, or are none", async () => {
    const { ask, loads } = await served();
    const wrong = [
      "A",
      "AAAAA",
      "A===",
      "AA=",
      "AAAA=",
      "AA==AA==",
      "AA\n==",
      "A\\u0000AA",
      "A\\",
      "-_AA",
      "é",
    ];
    for (const text of wrong) {
      const { reason } = await ask(load, `{"parameters":{"config":"{}","file:1/m":"${text}"}}`);
      expect(reason, text).toBe("invalid-input");
    }
    for (const files of [
      '"file:1/m":"AAAA","\\u0066ile:1/m":"AAAA"',
      '"file:1/m":0',
      '"file:1/m":["AAAA"]',
      '"file:1/m":"AAAA',
    ]) {
      // prettier-ignore
      expect((await ask(load, `{"parameters":{"config":"{}",${files}}}`)).reason, files).toBe("invalid-input");
    }
    expect(loads).toEqual([]);
  });
});
