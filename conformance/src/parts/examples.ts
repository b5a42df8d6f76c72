import { fileURLToPath } from "node:url";
import { join } from "node:path";
import { run, tritonClient } from "../install/index.ts";
import { asked, lastWords, type Part } from "./part.ts";

/** One example of Triton's client repository, and our script that makes its calls. */
interface Example {
  readonly name: string;
  readonly script: string;
  readonly args: readonly string[];
}

const http = ["--protocol", "http"];
const grpc = ["--protocol", "grpc"];
const way = (name: string): readonly string[] => ["--way", name];

/** `simple_http_NAME` and `simple_grpc_NAME`. */
const simple = (name: string, script: string, ...more: readonly string[]): readonly Example[] => [
  { name: `simple_http_${name}`, script, args: [...http, ...more] },
  { name: `simple_grpc_${name}`, script, args: [...grpc, ...more] },
];

/** The examples whose calls the clients for asyncio make, too; several of those were examples of their own once. */
const alsoWithAsyncio: readonly Example[] = [
  ...simple("health_metadata", "health_metadata.py"),
  ...simple("model_control", "model_control.py"),
  ...simple("sequence_sync_infer_client", "sequence_sync.py"),
  ...simple("sequence_sync_infer_client --dyna", "sequence_sync.py", "--dyna"),
  ...simple("shm_client", "shared_memory.py"),
  ...simple("shm_string_client", "shared_memory_string.py"),
  ...simple("string_infer_client", "string_infer.py"),
  { name: "simple_grpc_custom_args_client", script: "channel_options.py", args: way("arguments") },
  { name: "simple_grpc_keepalive_client", script: "channel_options.py", args: way("keepalive") },
];

/** By the names in `src/python/examples` there; an example with several ways to call is several entries. */
const examples: readonly Example[] = [
  ...alsoWithAsyncio,
  ...alsoWithAsyncio.map(({ name, script, args }) => ({
    name: name.replace(/^simple_(http|grpc)_/, "simple_$1_aio_"),
    script,
    args: [...args, "--asyncio"],
  })),
  ...simple("infer_client", "infer.py"),
  ...simple("aio_infer_client", "aio_infer.py", "--asyncio"),
  ...simple("async_infer_client", "async_infer.py"),
  { name: "simple_grpc_custom_repeat", script: "repeat.py", args: grpc },
  { name: "simple_grpc_sequence_stream_infer_client", script: "sequence_stream.py", args: grpc },
  {
    name: "simple_grpc_sequence_stream_infer_client --dyna",
    script: "sequence_stream.py",
    args: [...grpc, "--dyna"],
  },
  { name: "simple_grpc_aio_sequence_stream_infer_client", script: "aio_sequence_stream.py", args: grpc },
  {
    name: "simple_grpc_aio_sequence_stream_infer_client --dyna",
    script: "aio_sequence_stream.py",
    args: [...grpc, "--dyna"],
  },
  { name: "grpc_client", script: "stub_calls.py", args: grpc },
  { name: "grpc_explicit_int_content_client", script: "explicit_contents.py", args: way("int") },
  { name: "grpc_explicit_int8_content_client", script: "explicit_contents.py", args: way("int8") },
  { name: "grpc_explicit_byte_content_client", script: "explicit_contents.py", args: way("bytes") },
  { name: "image_client -i HTTP", script: "image.py", args: way("http-sync") },
  { name: "image_client -i HTTP --async", script: "image.py", args: way("http-async") },
  { name: "image_client -i gRPC", script: "image.py", args: way("grpc-sync") },
  { name: "grpc_image_client --async", script: "image.py", args: way("grpc-async") },
  { name: "grpc_image_client --streaming", script: "image.py", args: way("grpc-streaming") },
  { name: "ensemble_image_client -i HTTP", script: "ensemble_image.py", args: http },
  { name: "ensemble_image_client -i gRPC", script: "ensemble_image.py", args: grpc },
  { name: "reuse_infer_objects_client -i HTTP", script: "reuse_objects.py", args: http },
  { name: "reuse_infer_objects_client -i gRPC", script: "reuse_objects.py", args: grpc },
  { name: "memory_growth_test -i HTTP", script: "memory_growth.py", args: http },
  { name: "memory_growth_test -i gRPC", script: "memory_growth.py", args: grpc },
];

/** Examples that need hardware which the server does not claim to have. */
const cuda = ["simple_http_cudashm_client", "simple_grpc_cudashm_client"];

const folder = fileURLToPath(new URL("../../python/examples", import.meta.url));

/** The calls of the examples of Triton's Python client, made with that client. */
export const examplesPart: Part = {
  name: "triton-client",
  async run(context) {
    const tools = await tritonClient();
    const { server } = context;
    for (const { name, script, args } of examples) {
      if (!asked(context, name)) continue;
      const { code, out, err } = await run(
        tools.python,
        [
          join(folder, script),
          "--http",
          server.http,
          ...(server.grpc === undefined ? [] : ["--grpc", server.grpc]),
          ...args,
        ],
        { timeoutMs: 300_000, env: { PYTHONDONTWRITEBYTECODE: "1" } },
      );
      context.told(
        code === 0
          ? { name, outcome: "passed", detail: "" }
          : { name, outcome: "failed", detail: lastWords(out, err) },
      );
    }
    for (const name of cuda) {
      if (asked(context, name)) context.told({ name, outcome: "skipped", detail: "needs CUDA" });
    }
  },
};
