import { aboutServers, atOptions } from "../options/at-options.ts";
import { collect, type Defining, help, number, port } from "../options/define.ts";
import { directoryOptions } from "../options/directory-options.ts";
import { atPriceOption } from "../options/price-options.ts";
import { tlsOptions } from "./tls.ts";
import type { PickOptions } from "./command.ts";

/** `pick`. */
export function definePick({ program, action, io }: Defining): void {
  const picks = program
    .command("pick")
    .description("choose the endpoint of each request for a gateway (Envoy ext_proc, Gateway API)");
  help(
    tlsOptions(directoryOptions(atPriceOption(atOptions(aboutServers(picks)))))
      .option("--at <url>", "a server to choose from; repeat for several", collect, [])
      .option(
        "--pool <namespace/name>",
        "an InferencePool in Kubernetes, whose ready pods are servers to choose from; --at-kind, --at-trust, --at-price and --at-metrics apply to them, and --at-zone contains their zones",
      )
      .option(
        "--spill <where>",
        "servers outside the pool, for requests that none of it may take: a URL, with its properties (https://cloud.example:8000,zone=us,trust=operated,per-second=4000,key=FILE), pool:NAMESPACE/NAME with its own, or directory:WHERE; repeat for several",
        collect,
        [],
      )
      .option(
        "--at-grpc <:port>",
        "port of each server where it speaks gRPC, such as :8001 (default: grpcAddress of a directory's entry, else gRPC is refused)",
      )
      .option("--host <address>", "address to listen on", "127.0.0.1")
      .option("--port <port>", "port of the picker (gRPC); 0 picks a free one", port("port"), 9002)
      .option(
        "--metrics-port <port>",
        "port of metrics (/metrics) and health (/livez, /readyz) over HTTP, on the address of --host; 0 picks a free one (default: none)",
        port("metrics-port"),
      )
      .option(
        "--most-in-flight <n>",
        "requests through this picker at one server; with all full, clients get 429 (default: no limit)",
        number("most-in-flight", 1),
      )
      .option(
        "--drain-seconds <n>",
        "time for requests under way when the picker stops",
        number("drain-seconds", 0),
        30,
      )
      .option("--print-envoy", "print a configuration of Envoy for these options, and exit", false)
      .option("--envoy-host <address>", "address that Envoy listens on, in --print-envoy", "127.0.0.1")
      .option(
        "--envoy-port <port>",
        "port that Envoy listens on, in --print-envoy",
        port("envoy-port"),
        10_000,
      )
      .option(
        "--picker <host:port>",
        "where Envoy finds a picker, in --print-envoy; repeat for several (default: --host and --port)",
        collect,
        [],
      )
      .option(
        "--authz <host:port>",
        "in --print-envoy: check requests there first (longshore authz), encrypted unless on loopback",
      )
      .option(
        "--fail-open",
        "in --print-envoy: without a picker, send requests to the servers in turns; they keep their own rules",
        false,
      )
      .option("--json", "print JSON lines", false)
      .action(action(async (options: PickOptions) => (await import("./command.ts")).pick(options, io))),
    "longshore pick --at http://127.0.0.1:8010 --at http://127.0.0.1:8020 --data-class internal",
    "longshore pick --at http://127.0.0.1:8010 --at http://127.0.0.1:8020 --print-envoy > envoy.yaml",
    "longshore pick --pool shop/ocr --host 0.0.0.0 --data-class internal",
    "longshore pick --pool shop/ocr --data-class internal --spill https://cloud.example:8000,zone=us,trust=operated",
    "longshore pick --directory endpoints.yaml --host 0.0.0.0 --port 9002",
  );
}
