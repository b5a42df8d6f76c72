import { atOptions } from "../options/at-options.ts";
import { collect, type Defining, help, number, port } from "../options/define.ts";
import type { ScaleOptions } from "./command.ts";

/** `scale`. */
export function defineScale({ program, action, io }: Defining): void {
  const scales = program
    .command("scale")
    .description(
      "tell autoscalers how many servers a fleet needs (KEDA, HorizontalPodAutoscaler, Prometheus)",
    );
  help(
    atOptions(scales)
      .option(
        "--at <url>",
        "metrics port of a gateway or picker; repeat for several; a name with several addresses stands for all of them",
        collect,
        [],
      )
      .requiredOption(
        "--objective <text>",
        "what the fleet has to keep: p95=200ms, or p95=200ms,misses=1%,deadline=2s",
      )
      .option(
        "--model <name>",
        "a model that is known before its first request; repeat for several",
        collect,
        [],
      )
      .option(
        "--start-seconds <n>",
        "time from the decision to a ready server, until starts were seen",
        number("start-seconds", 1, 3600),
        60,
      )
      .option(
        "--idle-minutes <n>",
        "without a request for this long no server is needed; 0: one always is",
        number("idle-minutes", 0, 10_080),
        5,
      )
      .option("--most <n>", "the most servers that are asked for", number("most", 1, 100_000), 100)
      .option(
        "--parallel <n>",
        "requests that a server runs at a time (default: learned from its load)",
        number("parallel", 1, 10_000),
      )
      .option("--every <seconds>", "seconds between two looks", number("every", 0.5, 60), 2)
      .option("--host <address>", "address to listen on", "127.0.0.1")
      .option("--port <port>", "port for KEDA (gRPC external scaler); 0 picks a free one", port("port"), 6000)
      .option(
        "--metrics-api-port <port>",
        "port of external.metrics.k8s.io (HTTPS) for an APIService; 0 picks a free one (default: none)",
        port("metrics-api-port"),
      )
      .option(
        "--metrics-port <port>",
        "port of metrics (/metrics) and health over HTTP; 0 picks a free one (default: none)",
        port("metrics-port"),
      )
      .option(
        "--tls-cert <file>",
        "certificate (PEM) for KEDA and the metrics API (default: KEDA none, API self-signed)",
      )
      .option("--tls-key <file>", "key (PEM) of the certificate")
      .option(
        "--client-ca <file>",
        "authorities (PEM) whose clients alone may read, such as the aggregator's",
      )
      .option("--json", "print JSON lines", false)
      .action(
        action(async (options: ScaleOptions) => (await import("./command.ts")).scaleCommand(options, io)),
      ),
    "longshore scale --at http://gateway-metrics.shop.svc:8002 --objective p95=200ms,misses=1%,deadline=2s",
    "longshore scale --at http://127.0.0.1:8002 --objective p95=200ms --metrics-port 9100 --model ocr",
    "longshore scale --at http://127.0.0.1:8002 --objective p99=1s --host 0.0.0.0 --metrics-api-port 6443",
  );
}
