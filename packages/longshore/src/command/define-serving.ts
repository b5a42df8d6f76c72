import { allRights, defaultMaxKeptBytes } from "@longshore/server";
import { type Command, Option } from "commander";
import { behindOptions } from "../options/at-options.ts";
import { collect, type Defining, help, number } from "../options/define.ts";
import { groupHelp } from "../configuration/help-groups.ts";
import { keysAdd, keysList, keysRevoke } from "./keys.ts";
import { onlineOptions } from "../options/online-options.ts";
import { repositoryOptions } from "../options/repository-options.ts";
import { pullOptions } from "./define-package.ts";
import { ownPriceOptions } from "../options/price-options.ts";
import { tritonOptions } from "../options/triton-options.ts";
import { allowClassesOption } from "../options/data-class-options.ts";
import { providersOption } from "../options/provider-options.ts";

/** `serve` and what belongs to it. */
export function defineServing({ program, action, io }: Defining): void {
  const served = program
    .command("serve")
    .description("serve models over the network (Open Inference Protocol v2, HTTP and gRPC)")
    .argument(
      "[repository]",
      "folder of models (Triton layout), one model folder, or an .onnx file (default: models.repository of --config)",
    );
  behindOptions(onlineOptions(served, "a server to forward requests to; repeat for several"));
  help(
    ownPriceOptions(pullOptions(repositoryOptions(tritonOptions(served), number)), true)
      .option("--workers <n>", "loaded copies of each model", number("workers", 1))
      .addOption(
        new Option("--runtime <name>", "runtime").choices(["onnxruntime", "wasm"]).default("onnxruntime"),
      )
      .addOption(providersOption())
      .addOption(allowClassesOption())
      .option("--queue <n>", "longest queue of a model", number("queue", 1), 256)
      .option(
        "--worker-niceness <n>",
        "niceness of worker threads above the thread that answers (Linux)",
        number("worker-niceness", 0),
        5,
      )
      .option("--allow-management", "allow callers with the right manage to load and unload models", false)
      .action(
        action(async (_repository: string | undefined, _options: object, command: Command) =>
          (await import("./serve.ts")).serveCommand(command, io),
        ),
      ),
    "longshore serve --config longshore.yaml",
    "longshore serve ./models --port 8000 --tier edge --zone eu/de/store-7",
    "longshore serve detector.onnx --port 0 --no-grpc-port",
    "longshore serve ./models --model-control explicit --load-model ocr --allow-management",
    "longshore serve ./models --model-control poll --poll-seconds 5 --model-memory 2000000000",
    "longshore serve ./models --allow-management --shared-memory longshore-",
    "longshore serve ./models --otlp http://127.0.0.1:4318 --trace-rate 100 --log-level warning",
    "longshore serve ./models --join http://10.0.0.2:8000 --advertise http://10.0.0.7:8000 --zone eu/de/store-7",
    "longshore serve ./models --join http://10.0.0.2:8000 --packages-into ./packages --operator-keys operator.pub",
    "longshore serve ./models --directory endpoints.yaml --operator-keys operator.pub",
    "longshore serve ./pipelines --at http://triton:8000 --at-kind oip --data-class internal",
    "longshore serve ./models --host 0.0.0.0 --identity identity.yaml --tls-cert server.pem --tls-key server.key",
  );
  const gated = program.command("gateway").description("run a gateway that balances requests across servers");
  help(
    ownPriceOptions(
      behindOptions(onlineOptions(gated, "a server to balance across; repeat for several")),
      false,
    )
      .option("--allow-management", "allow callers with the right manage to change aliases", false)
      .option("--no-joins", "refuse servers that join (serve --join)")
      .addOption(
        new Option("--joins-trust <trust>", "trust of servers that join without a signed entry")
          .choices(["listed", "operated", "vouched"])
          .default("listed"),
      )
      .option("--joins-keep <file>", "keep the servers that joined in this file across restarts")
      .option(
        "--max-kept <bytes>",
        "bytes of a forwarded body kept for a retry; longer bodies are not retried",
        number("max-kept", 0),
        defaultMaxKeptBytes,
      )
      .option(
        "--hold-seconds <n>",
        "longest time that a request with a deadline waits, within it, for a first server of its model; 0: refused at once",
        number("hold-seconds", 0, 3600),
        60,
      )
      .action(
        action(async (_options: object, command: Command) =>
          (await import("./gateway.ts")).gatewayCommand(command, io),
        ),
      ),
    "longshore gateway --config longshore.yaml",
    "longshore gateway --zone eu/de --data-class internal",
    "longshore gateway --at http://127.0.0.1:8010 --at http://127.0.0.1:8020 --data-class internal",
    "longshore gateway --port 9000 --at http://127.0.0.1:8000 --at-kind oip --data-class internal",
    "longshore gateway --at http://a:8000 --at http://b:8000 --at-price http://a:8000,per-second=4000 --at-price per-second=900",
    "longshore gateway --port 9000 --at http://10.0.0.3:80 --at-kind oip --at-metrics :8002 --data-class internal",
  );
  groupHelp(served);
  groupHelp(gated);

  const keys = program.command("keys").description("manage API keys of a server: add, list, revoke");
  const keysFile = (command: Command): Command =>
    command
      .requiredOption("--file <file>", "file of hashed keys, which identity.yaml names")
      .option("--pepper <file>", "secret that keys are hashed under (default: <file>.pepper)")
      .option("--json", "print JSON", false);
  help(
    keysFile(keys.command("add").description("make a key and print it once"))
      .requiredOption("--tenant <name>", "tenant of the key")
      .option("--right <right>", `${allRights.join(", ")}; repeat for several (default: infer)`, collect, [])
      .option("--expires <when>", "90d, 12h, or a date (default: never)")
      .option("--note <text>", "note, such as the holder of the key")
      .action(action((options) => keysAdd(options, io))),
    "longshore keys add --file keys.json --tenant acme --right infer --expires 90d > till-4.key",
  );
  help(
    keysFile(keys.command("list").description("list the keys")).action(
      action((options) => keysList(options, io)),
    ),
    "longshore keys list --file keys.json",
  );
  help(
    keysFile(keys.command("revoke").description("revoke a key"))
      .argument("<key>", "its 16 digits, as 'list' shows them")
      .action(action((key: string, options) => keysRevoke(key, options, io))),
    "longshore keys revoke 0123456789abcdef --file keys.json",
  );
}
