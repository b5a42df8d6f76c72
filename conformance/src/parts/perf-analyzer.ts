import { perfAnalyzer, run } from "../install/index.ts";
import { asked, lastWords, type Part } from "./part.ts";

/** One way to load the server. */
interface Way {
  readonly name: string;
  readonly wire: "http" | "grpc";
  readonly model: string;
  readonly args: readonly string[];
}

const concurrency = ["--concurrency-range", "4"];

const ways: readonly Way[] = [
  { name: "HTTP", wire: "http", model: "simple", args: concurrency },
  { name: "HTTP, batches", wire: "http", model: "simple", args: [...concurrency, "-b", "4"] },
  { name: "HTTP, asynchronous", wire: "http", model: "simple", args: [...concurrency, "--async"] },
  { name: "HTTP, texts", wire: "http", model: "simple_string", args: [...concurrency, "--string-data", "7"] },
  {
    name: "HTTP, system shared memory",
    wire: "http",
    model: "simple",
    args: [...concurrency, "--shared-memory", "system"],
  },
  { name: "HTTP, request rate", wire: "http", model: "simple", args: ["--request-rate-range", "100"] },
  { name: "HTTP, image", wire: "http", model: "colours", args: concurrency },
  { name: "gRPC", wire: "grpc", model: "simple", args: concurrency },
  { name: "gRPC, asynchronous", wire: "grpc", model: "simple", args: [...concurrency, "--async"] },
  { name: "gRPC, streaming", wire: "grpc", model: "simple", args: [...concurrency, "--streaming"] },
  {
    name: "gRPC, system shared memory",
    wire: "grpc",
    model: "simple",
    args: [...concurrency, "--shared-memory", "system"],
  },
  {
    name: "HTTP, sequences",
    wire: "http",
    model: "simple_sequence",
    args: [...concurrency, "--sequence-length", "8"],
  },
  {
    name: "gRPC, sequences over a stream",
    wire: "grpc",
    model: "simple_sequence",
    args: [...concurrency, "--sequence-length", "8", "--streaming"],
  },
  {
    name: "gRPC, sequences, oldest strategy",
    wire: "grpc",
    model: "simple_dyna_sequence",
    args: [...concurrency, "--sequence-length", "8"],
  },
];

/** The line worth printing: inferences a second, and the server's own figures. */
function told(out: string): { readonly throughput: number; readonly line: string; readonly server: boolean } {
  const throughput = Number(/Throughput: ([0-9.]+) infer\/sec/.exec(out)?.[1] ?? 0);
  const latency = /p50 latency: ([0-9]+) usec/.exec(out)?.[1] ?? "?";
  const requests = /Server:[\s\S]*?Inference count: ([0-9]+)/.exec(out)?.[1];
  return {
    throughput,
    line: `${throughput.toFixed(0)} inferences/s, p50 ${latency} us, the server counted ${requests ?? "nothing"}`,
    server: Number(requests ?? 0) > 0,
  };
}

/** Triton's load generator, unmodified, with the server's statistics. */
export const perfAnalyzerPart: Part = {
  name: "perf-analyzer",
  async run(context) {
    const program = await perfAnalyzer();
    const { server } = context;
    for (const { name, wire, model, args } of ways) {
      if (!asked(context, name)) continue;
      const address = wire === "http" ? server.http : server.grpc;
      if (address === undefined) {
        context.told({ name, outcome: "skipped", detail: "the server has no gRPC port" });
        continue;
      }
      const { code, out, err } = await run(
        program.path,
        [
          "-m",
          model,
          "-u",
          address,
          "-i",
          wire,
          // By requests: of none that ended in some time it says that it measured nothing.
          "--measurement-mode",
          "count_windows",
          "--measurement-request-count",
          "50",
          "--max-trials",
          "4",
          "--stability-percentage",
          "999",
          "--percentile",
          "50",
          ...args,
        ],
        { env: program.env, timeoutMs: 300_000 },
      );
      const { throughput, line, server: counted } = told(out);
      const good = code === 0 && throughput > 0 && counted;
      context.told({
        name,
        outcome: good ? "passed" : "failed",
        detail: code === 0 ? line : lastWords(out, err),
      });
    }
  },
};
