import { type Defining, help, number, port } from "../options/define.ts";
import { linkOptions } from "../options/link-options.ts";
import { observe } from "./command.ts";

/** `longshore observe`. */
export function defineObserve({ program, action, io }: Defining): void {
  help(
    linkOptions(
      program
        .command("observe")
        .description("relay a server's traffic unchanged and report what offloading would have saved")
        .requiredOption("--in-front-of <url>", "the server, http://host:port or https://host:port")
        .option("--host <address>", "address to listen on", "127.0.0.1")
        .option("--port <port>", "port; 0 picks a free one", port("port"), 9000)
        .option("--grpc-in-front-of <url>", "gRPC address of the server; relayed without inspection")
        .option("--grpc-port <port>", "port for that (default: the one after --port)", port("grpc-port"))
        .option("--tls-cert <file>", "certificate (PEM) for clients (default: no TLS)")
        .option("--tls-key <file>", "key (PEM) of the certificate")
        .option("--at-ca <file>", "authorities (PEM) that sign the server; default: the system's")
        .option("--at-cert <file>", "client certificate (PEM) for the server")
        .option("--at-cert-key <file>", "key (PEM) of the client certificate")
        .option("--models <folder>", "repository whose profiles describe the server's models"),
      "the server",
    )
      .option(
        "--edge-speed <ratio>",
        "speed of an edge box relative to the server; 0 for none",
        number("edge-speed", 0),
        0.5,
      )
      .option("--every-seconds <n>", "seconds between reports", number("every-seconds", 1), 60)
      .option(
        "--end-seconds <n>",
        "time for the replay at the end; models left over are named",
        number("end-seconds", 0),
        8,
      )
      .option("--seed <n>", "seed of the simulation", number("seed", 0), 1)
      .option("--json", "print JSON lines", false)
      .action(action((options) => observe(options, io))),
    "longshore observe --in-front-of http://127.0.0.1:8000 --port 9000 --uplink 5mbit --device-speed 0.2",
    "longshore observe --in-front-of http://triton:8000 --grpc-in-front-of http://triton:8001 --models ./models --json",
  );
}
