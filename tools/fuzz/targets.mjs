/** The targets of fuzzing: each opens a reader, and reports how an input was taken. */
import { readFileSync } from "node:fs";
import { connect } from "node:net";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import {
  codecSet,
  defaultWireLimits,
  fp16Codec,
  int8Codec,
  LongshoreError,
  rawCodec,
  readBody,
  reasons,
} from "@longshore/core";
import { allSteps, housekeepingCall, readInferReplyInSteps, readInferRequest, wireRoutes } from "@longshore/core/internal"; // prettier-ignore
import { onnxSource } from "@longshore/graph";
import { sha256, systemClock, systemRandom } from "@longshore/nodejs";
import { createHandler, listen } from "@longshore/server";
import { identityTargets } from "./identity-targets.mjs";
import { doubleDescription, doubleEndpoint, onnxFile, tritonModels } from "@longshore/testkit";

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const built = (path) => import(join(root, "packages", path));
const encoder = new TextEncoder();
const bytesOf = (text) => encoder.encode(text);
const file = (path) => new Uint8Array(readFileSync(join(root, path)));

/** How a reader took its input: `taken`, or the reason that it refused it for. Throws for every other way to fail. */
async function outcomeOf(read) {
  try {
    await read();
    return "taken";
  } catch (thrown) {
    if (LongshoreError.is(thrown) && thrown.reason !== "internal") return thrown.reason;
    throw thrown;
  }
}

const x = '{"name":"x","datatype":"FP32","shape":[1,3],"data":[1,2.5,-3e2]}';
const requests = [
  `{"inputs":[${x}]}`,
  `{"id":"7","parameters":{"priority":1,"timeout":5,"sequence_id":3,"sequence_start":true},"inputs":[${x}],"outputs":[{"name":"y","parameters":{"classification":2,"binary_data":false}}]}`,
  '{"inputs":[{"name":"t","datatype":"BYTES","shape":[2],"data":["a","\\u00e9\\n"]},{"name":"n","datatype":"INT64","shape":[2,2],"data":[[1,-2],[3,9223372036854775807]]},{"name":"b","datatype":"BOOL","shape":[2],"data":[true,0]}]}',
  '{"inputs":[{"name":"x","datatype":"FP32","shape":[1,3],"parameters":{"binary_data_size":12}}],"parameters":{"binary_data_output":true}}            ',
  '{"inputs":[{"name":"x","datatype":"UINT8","shape":[3],"parameters":{"shared_memory_region":"r","shared_memory_byte_size":3}}]}',
  '{"inputs":[{"name":"x","datatype":"FP32","shape":[4],"parameters":{"binary_data_size":8,"codec":"fp16"}},{"name":"x~rows","datatype":"INT32","shape":[2,1],"data":[1,3]}]}        ',
];
const replies = [
  '{"model_name":"m","model_version":"1","id":"7","parameters":{"longshore_confidence":0.5},"outputs":[{"name":"y","datatype":"FP32","shape":[2],"data":[1,2]}]}',
  '{"model_name":"m","outputs":[{"name":"y","datatype":"INT8","shape":[4],"parameters":{"binary_data_size":4}}]}abcd',
];
const messageWords = ['"inputs"', '"outputs"', '"parameters"', '"data"', '"shape"', '"datatype"', '"name"', '"binary_data_size"', '"shared_memory_region"', '"classification"', '"sequence_id"', "FP32", "FP16", "BYTES", "UINT64", "[[1,2],[3,4]]", "[]", "{}", ","]; // prettier-ignore

/** The input of that name, as the output of another. */
function renamed(inputs, name, to) {
  const input = inputs.get(name);
  return new Map([[to, { ...input, spec: { ...input.spec, name: to } }]]);
}

const double = () =>
  doubleEndpoint([
    { description: doubleDescription({ name: "double", labels: { y: ["cat", "dog"] } }), run: (inputs) => renamed(inputs, "x", "y") }, // prettier-ignore
    { description: doubleDescription({ name: "text", inputs: [{ name: "t", datatype: "BYTES", shape: [-1] }], outputs: [{ name: "y", datatype: "BYTES", shape: [-1] }] }), run: (inputs) => renamed(inputs, "t", "y") }, // prettier-ignore
  ]);

function handler() {
  return createHandler({
    endpoint: double(),
    codecs: codecSet(rawCodec, fp16Codec, int8Codec),
    clock: systemClock(),
    observer: { record: () => undefined },
    modelControl: true,
    modelUploads: true,
    forwardHeaders: /^x-/,
    repository: { index: async () => [], load: async () => undefined, unload: async () => undefined },
    sharedMemory: { open: async () => ({ byteLength: 8, read: async () => undefined, write: async () => undefined, close: async () => undefined }) }, // prettier-ignore
  });
}

/** A request as its first line, headers and body, which the target on the socket sends as it is. */
function text(method, path, body, headers = "") {
  return `${method} ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n${headers}content-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`;
}

/** Bodies with that member, nested as deep as may be and deeper, and with keys that come twice. */
function nestedBodies(name, value) {
  const deep = (open, close, depth) => `{"${name}":${open.repeat(depth)}${value}${close.repeat(depth)}}`;
  return [
    deep("[", "]", 31),
    deep("[", "]", 5000),
    deep('{"a":', "}", 30),
    deep('{"a":', "}", 5000),
    `{"${name}":${value},"${name}":${value}}`,
    `{"__proto__":{"${name}":${value}},"parameters":{"a":1,"a":2}}`,
  ];
}

const filled = (path) => path.replace("{model}", "double").replace("{version}", "1").replace("{variant}", "default").replaceAll(/\{(from|to)\}/g, "start").replace("{region}", "r"); // prettier-ignore
const bodies = { infer: requests[0], generate: '{"t":"hello","x":1}', load: '{"parameters":{"config":"{}","file:1/m.onnx":"AAAA"}}', unload: '{"parameters":{"unload_dependents":true}}', index: '{"ready":true}', "set-log-settings": '{"log_verbose_level":1}', "set-trace-settings": '{"trace_level":["TIMESTAMPS"],"trace_rate":"3"}', "shared-register": '{"key":"/k","offset":0,"byte_size":8}' }; // prettier-ignore
const http = [
  ...wireRoutes.map(({ kind, method, path }) => text(method, filled(path), bodies[kind] ?? "")),
  ...requests.map((body) => text("POST", "/v2/models/double/infer", body)),
  text(
    "POST",
    "/v2/models/double/infer",
    requests[3] + "\0".repeat(12),
    "inference-header-content-length: 122\r\n",
  ),
  text("POST", "/v2/models/double/infer", "\0".repeat(12), "inference-header-content-length: 0\r\n"),
  'POST /v2/models/double/infer HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{"inp\r\n1\r\nu\r\n0\r\n\r\n',
  text("POST", "/v2/models/text/generate_stream", '{"t":["a","b"]}'),
  text("GET", "/v2/models/double/offers?bytes=5&size=3&knowledge=0", ""),
  ...["generate", "generate_stream"].flatMap((way) => nestedBodies("t", '"a"').map((body) => text("POST", `/v2/models/text/${way}`, body))), // prettier-ignore
  ...["load", "unload"].flatMap((way) => nestedBodies("parameters", '{"config":"{}","file:1/m.onnx":"AAA="}').map((body) => text("POST", `/v2/repository/models/double/${way}`, body))), // prettier-ignore
  text("POST", "/v2/repository/models/double/load", '{"parameters":{"\\u0066ile:1/a":"QUJD\\/\\n","file:1/b" : "Q\\u0051==","config":"{}"}}'), // prettier-ignore
];
const httpWords = ['"file:1/m.onnx":"AAAA",', '"config":"{}",', '"__proto__":', '"a":1,"a":1,', "[[[[[[[[", '{"a":{"a":{"a":', '"\\u0000"', "1e999", "content-length: 5\r\n", "transfer-encoding: chunked\r\n", "content-encoding: gzip\r\n", "accept-encoding: gzip\r\n", "expect: 100-continue\r\n", "inference-header-content-length: 5\r\n", "longshore-deadline: 5\r\n", "longshore-rules: class=a;zones=\r\n", "longshore-path: a,b\r\n", "longshore-account: 1\r\n", "longshore-acknowledge: 1\r\n", "connection: close\r\n", "GET ", "POST ", "OPTIONS ", "HEAD ", "/v2/models/", "/versions/1", "/infer", "/v2", "HTTP/1.1", "HTTP/2.0", "0\r\n\r\n", "%2F", "//", "/../", "?", "#", ";"]; // prettier-ignore

/** Errors of a reply: none that tell of a failure of ours. */
function checkReply(status, body) {
  if (status === 200 || status === 204 || status === 100 || status === 102) return String(status);
  const { error, reason } = JSON.parse(body);
  if (
    typeof error !== "string" ||
    !Object.hasOwn(reasons, reason) ||
    reason === "internal" ||
    status === 500
  ) {
    throw new Error(`status ${status}: ${body.slice(0, 300)}`);
  }
  if (/node_modules|\bat .*:\d+:\d+|\/packages\/\w+\/(src|dist)\//.test(error))
    throw new Error(`tells of its inside: ${error}`);
  return reason;
}

/**
 * The request in plain data that mutated text stands for, as a listener would make it, but for methods that no listener hands on.
 * @returns {any}
 */
function plainRequest(bytes) {
  const whole = Buffer.from(bytes).toString("latin1");
  const at = whole.indexOf("\r\n\r\n");
  const [first = "", ...lines] = (at < 0 ? whole : whole.slice(0, at)).split("\r\n");
  const [method = "GET", path = "/"] = first.split(" ");
  const headers = Object.fromEntries(lines.map((line) => line.split(/:\s*/, 2)).filter(([name]) => name).map(([name = "", value = ""]) => [name.toLowerCase(), value])); // prettier-ignore
  const body =
    at < 0 ? new Uint8Array(0) : bytes.subarray(Buffer.byteLength(whole.slice(0, at + 4), "latin1"));
  return { method, path, headers, body: { kind: "parts", parts: [body] }, peer: { address: "127.0.0.1", loopback: true } }; // prettier-ignore
}

function onSocket(port, bytes) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let heard = "";
    const over = (result) => {
      socket.destroy();
      clearTimeout(timer);
      resolve(result);
    };
    // A request that is cut short waits for its rest; that it waits is right.
    const timer = setTimeout(() => over("waits"), 25);
    socket.setEncoding("latin1");
    socket.on("data", (chunk) => {
      heard += chunk;
      const [head = "", ...rest] = heard.split("\r\n\r\n");
      const length = Number(/content-length: (\d+)/i.exec(head)?.[1] ?? NaN);
      const body = rest.join("\r\n\r\n");
      if (Number.isNaN(length) || body.length < length) return;
      try {
        over(checkReply(Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1]), Buffer.from(body.slice(0, length), "latin1").toString())); // prettier-ignore
      } catch (thrown) {
        socket.destroy();
        clearTimeout(timer);
        reject(thrown);
      }
    });
    socket.on("error", () => over("reset"));
    socket.on("close", () => over("closed"));
    socket.write(bytes);
  });
}

const yaml = [
  ...["ocr", "ocr-detect", "vad", "anomaly", "language"].map((model) =>
    file(`samples/models/${model}/model.yaml`),
  ),
  bytesOf("name: m\nbatching: { maxBatchSize: 8, preferredSizes: [4], maxQueueDelayMs: 2 }\nsequence: { maxIdleMs: 60000, states: [{ input: state, output: stateN, datatype: FP32, shape: [2, 1, 128] }] }\nvariants:\n  - { name: \"640\", tiers: [cloud], agreement: 0.9 }\n"), // prettier-ignore
];
/** Small models and their configurations as they are. */
const models = Object.entries(tritonModels());
const pbtxt = [
  'name: "simple"\nplatform: "onnxruntime_onnx"\nmax_batch_size: 8\ninput [ { name: "INPUT0" data_type: TYPE_INT32 dims: [ 16 ] } ]\noutput [ { name: "OUTPUT0" data_type: TYPE_INT32 dims: [ 16 ] label_filename: "labels.txt" } ]\ninstance_group [ { count: 2 kind: KIND_CPU } ]\ndynamic_batching { preferred_batch_size: [ 4, 8 ] max_queue_delay_microseconds: 100 }\nversion_policy: { latest { num_versions: 2 } }\nparameters { key: "k" value { string_value: "v" } }\n',
  'sequence_batching { max_sequence_idle_microseconds: 5000000 control_input [ { name: "START" control [ { kind: CONTROL_SEQUENCE_START int32_false_true: [ 0, 1 ] } ] } ] state [ { input_name: "s" output_name: "t" data_type: TYPE_FP32 dims: [ -1 ] } ] }',
  'platform: "ensemble" ensemble_scheduling { step [ { model_name: "a" model_version: -1 input_map { key: "x" value: "y" } output_map { key: "z" value: "w" } } ] } # comment',
  ...models.flatMap(([path, content]) => (path.endsWith(".pbtxt") ? [content] : [])),
].map(bytesOf);

const onnx = [
  onnxFile({
    inputs: [{ name: "x", datatype: "FP32", shape: ["n", 3] }],
    outputs: [{ name: "y", datatype: "FP32", shape: ["n", 3] }],
    nodes: [
      { op: "Add", inputs: ["x", "x"], outputs: ["a"] },
      { op: "Relu", inputs: ["a"], outputs: ["y"] },
    ],
  }),
  ...models.flatMap(([path, content]) => (path.endsWith(".onnx") ? [content] : [])),
];

/** Fields of protobuf, for seeds. */
const varint = (value) => (value < 128 ? [value] : [(value & 127) | 128, ...varint(value >> 7)]);
const piece = (number, ...bytes) => [number * 8 + 2, ...varint(bytes.length), ...bytes];
const word = (number, text_) => piece(number, ...encoder.encode(text_));
const input = (...more) => [...word(1, "x"), ...word(2, "FP32"), ...piece(3, 1, 3), ...more];
const floats = [0, 0, 128, 63, 0, 0, 0, 64, 0, 0, 64, 64];
const entry = (key, ...value) => piece(4, ...word(1, key), ...piece(2, ...value));
const grpcSeeds = [
  [...word(1, "m"), ...word(3, "7"), ...piece(5, ...input()), ...piece(7, ...floats)],
  [
    ...word(1, "m"),
    ...word(2, "1"),
    ...piece(5, ...input(...piece(5, ...piece(6, ...floats)))),
    ...piece(6, ...word(1, "y")),
  ],
  [...word(1, "m"), ...entry("sequence_id", 16, 5), ...entry("sequence_start", 8, 1), ...entry("k", ...word(3, "v")), ...piece(5, ...word(1, "t"), ...word(2, "BYTES"), ...piece(3, 2), ...piece(5, ...word(8, "a"), ...word(8, "bc")))], // prettier-ignore
].map((bytes) => Uint8Array.from(bytes));
const grpcReplySeeds = [
  piece(2, ...word(1, "m"), ...word(2, "1"), ...piece(5, ...input()), ...piece(6, ...floats)),
  piece(2, ...word(1, "m"), ...entry("triton_final_response", 8, 1), ...piece(5, ...input(...piece(5, ...piece(6, ...floats))))), // prettier-ignore
  [...word(1, "no"), ...piece(2, ...word(1, "m"))],
].map((bytes) => Uint8Array.from(bytes));

/** Frames of HTTP/2, for seeds. */
const frame = (type, flags, stream, ...payload) => [0, payload.length >> 8, payload.length & 255, type, flags, 0, 0, 0, stream, ...payload]; // prettier-ignore
const literal = (name, value) => [0, name.length, ...encoder.encode(name), value.length, ...encoder.encode(value)]; // prettier-ignore
const hello = [...encoder.encode("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), ...frame(4, 0, 0, 0, 4, 0, 0, 255, 255)]; // prettier-ignore
const called = (method) => [0x83, 0x86, ...literal(":path", `/inference.GRPCInferenceService/${method}`), ...literal("content-type", "application/grpc"), ...literal("te", "trailers")]; // prettier-ignore
const message = (bytes) => [0, 0, 0, bytes.length >> 8, bytes.length & 255, ...bytes];
const asked = [...word(1, "double"), ...piece(5, ...input()), ...piece(7, ...floats)];
const http2Seeds = [
  [...hello, ...frame(1, 4, 1, ...called("ModelInfer")), ...frame(0, 1, 1, ...message(asked)), ...frame(1, 5, 3, ...called("ServerLive"))],
  [...hello, ...frame(1, 4, 1, ...called("ModelStreamInfer")), ...frame(0, 0, 1, ...message(asked)), ...frame(0, 1, 1, ...message(asked)), ...frame(3, 0, 1, 0, 0, 0, 8)],
  [...hello, ...frame(1, 0x2c, 1, 2, 0, 0, 0, 0, 16, ...called("ModelInfer").slice(0, 20), 0, 0), ...frame(9, 4, 1, ...called("ModelInfer").slice(20)), ...frame(0, 9, 1, 3, ...message(asked), 0, 0, 0)],
  [...hello, ...frame(6, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8), ...frame(8, 0, 0, 0, 0, 1, 0), ...frame(1, 5, 1, 0x83, 0x86, 0x44, 0x81, 0x63, 0x40, 1, 97, 1, 98, 0xbe), ...frame(7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)],
].map((bytes) => Uint8Array.from(bytes)); // prettier-ignore

/** Sends bytes to a port of gRPC: how its server takes them, with no call that failed for a reason of its own. */
function onCalls(port, bytes) {
  return new Promise((resolve, reject) => {
    const socket = connect(port, "127.0.0.1");
    let heard = "";
    const over = (how) => {
      clearTimeout(timer);
      socket.destroy();
      // Statuses as they are written, without Huffman's code: 2 and 13 are UNKNOWN and INTERNAL.
      if (["\u00012", "\u000213"].some((status) => heard.includes(`grpc-status${status}`)))
        reject(new Error(`a call failed: ${heard}`));
      else resolve(how);
    };
    const timer = setTimeout(() => over(heard.includes("grpc-status") ? "answered" : "waits"), 25);
    socket.setEncoding("latin1");
    socket.on("data", (chunk) => (heard += chunk));
    socket.on("error", () => over("reset"));
    socket.on("close", () => over("closed"));
    socket.write(bytes);
  });
}

const readReply = (bytes, headerLength) =>
  readInferReplyInSteps(bytes, headerLength, defaultWireLimits, async () => undefined);

/** The targets by name; run in this order. */
export const targets = {
  message: {
    seeds: [...requests, ...replies].map(bytesOf),
    dictionary: messageWords,
    open: async () => ({
      run: (bytes) =>
        outcomeOf(() => {
          // Where the JSON ends is guessed from the text, rightly unless that was mutated.
          const end = Buffer.from(bytes).lastIndexOf("}") + 1;
          const read = bytes.includes(0x5f) && bytes.length % 2 === 0 ? readReply : readInferRequest;
          return read(bytes, bytes.length % 3 === 0 ? undefined : end);
        }),
    }),
  },
  handler: {
    seeds: http.map(bytesOf),
    dictionary: [...httpWords, ...messageWords],
    async open() {
      const handle = handler();
      return {
        async run(bytes) {
          const reply = await handle(plainRequest(bytes), housekeepingCall("fuzz"));
          return checkReply(
            reply.status,
            Buffer.from(await readBody(reply.body, { maxBytes: 2 ** 28 })).toString(),
          );
        },
      };
    },
  },
  socket: {
    seeds: http.map(bytesOf),
    dictionary: httpWords,
    async open() {
      const listening = await listen(handler(), { clock: systemClock(), random: systemRandom(), port: 0 });
      return { run: (bytes) => onSocket(listening.port, bytes), close: () => listening.close(0) };
    },
  },
  "model.yaml": {
    seeds: yaml,
    dictionary: ["name: ", "inputs:", "pipeline:", "steps:", "- ", "{ ", "} ", "&a ", "*a", "<<: ", "!!js/function ", "|\n", "datatype: FP32", "shape: [-1]", "forEach: ", "with: "], // prettier-ignore
    async open() {
      const { parseModelYaml } = await built("engine/dist/configuration/model-yaml.js");
      return { run: (bytes) => outcomeOf(() => parseModelYaml("m", new TextDecoder().decode(bytes))) };
    },
  },
  "config.pbtxt": {
    seeds: pbtxt,
    dictionary: ["{ ", "} ", "[ ", "] ", "< ", ": ", "TYPE_FP32", "dims: ", "max_batch_size: ", "ensemble_scheduling", "sequence_batching", "'", '"', "#", ";", "0x7fffffff", "1e30"], // prettier-ignore
    async open() {
      const { parseTritonConfig } = await built("engine/dist/configuration/triton-config.js");
      return { run: (bytes) => outcomeOf(() => parseTritonConfig("m", new TextDecoder().decode(bytes))) };
    },
  },
  grpc: {
    seeds: grpcSeeds,
    dictionary: ["\x0a\x01m", "\x2a\x02", "\x3a\x04", "\x12\x04FP32", "\x12\x05BYTES", "\x18\x03", "\x1a\x02\x01\x03", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x80\x80\x80\x80\x08"], // prettier-ignore
    async open() {
      const { binaryHead, inferRequestWork, RawContents } = await built("grpc/dist/message/index.js");
      const whole = (bytes) => void allSteps(inferRequestWork(bytes, defaultWireLimits));
      const passed = (bytes) => {
        const head = binaryHead(bytes, bytes.byteLength, defaultWireLimits);
        if (!head) return whole(bytes);
        const contents = new RawContents(head);
        const body = Buffer.concat([head.json, ...contents.take(bytes)]);
        contents.end();
        readInferRequest(body, head.json.byteLength, defaultWireLimits);
      };
      return {
        async run(bytes) {
          const outcome = await outcomeOf(() => whole(bytes));
          const other = await outcomeOf(() => passed(bytes));
          // A request that is passed on while it arrives is refused exactly if the whole one is.
          if ((outcome === "taken") !== (other === "taken"))
            throw new Error(`${outcome}, but passed on ${other}`);
          return outcome;
        },
      };
    },
  },
  "grpc replies": {
    seeds: grpcReplySeeds,
    dictionary: ["\x0a\x01e", "\x12\x10", "\x2a\x02", "\x32\x04", "\x12\x04FP32", "\x18\x03", "\x1a\x02\x01\x03", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"], // prettier-ignore
    async open() {
      const { streamReplyWork } = await built("grpc/dist/message/infer-reply.js");
      return { run: (bytes) => outcomeOf(() => allSteps(streamReplyWork(bytes, defaultWireLimits))) };
    },
  },
  http2: {
    seeds: http2Seeds,
    dictionary: ["\x00\x00\x00\x04\x01\x00\x00\x00\x00", "\x00\x00\x04\x03\x00\x00\x00\x00\x01\x00\x00\x00\x08", "\x00\x00\x04\x08\x00\x00\x00\x00\x00\x7f\xff\xff\xff", "\x00\x00\x08\x06\x00\x00\x00\x00\x00", "\x00\x00\x00\x09\x04\x00\x00\x00\x01", "\x82", "\xbe", "\x3f\xe1\x1f", "\x40\x01a\x01b", "\x00\x02te\x08trailers"], // prettier-ignore
    async open() {
      const { listenGrpc } = await built("grpc/dist/index.js");
      const { directSocket } = await built("server/dist/index.js");
      const parts = { clock: systemClock(), random: systemRandom(), directSocket };
      const listening = await listenGrpc(handler(), { ...parts, port: 0 });
      return { run: (bytes) => onCalls(listening.port, bytes), close: () => listening.close(0) };
    },
  },
  onnx: {
    seeds: onnx,
    dictionary: ["x", "y", "Add", "If", "Loop", "\x08\x01", "\x12\x02", "\x80\x80\x80\x80\x80\x01", "\xff\xff\xff\xff\x0f"], // prettier-ignore
    async open() {
      // Small graphs take many times their bytes when they are analysed; few are kept.
      const source = onnxSource({ cacheBytes: 2 ** 18 });
      const call = housekeepingCall("fuzz");
      return {
        run: (bytes) =>
          outcomeOf(async () => {
            const artifact = {
              digest: await sha256(bytes),
              byteLength: bytes.byteLength,
              bytes: async () => bytes,
            };
            await source.inspect(artifact, call);
            await source.cuts(artifact, call);
          }),
      };
    },
  },
  ...identityTargets,
};
