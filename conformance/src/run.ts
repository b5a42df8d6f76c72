/**
 * `npm run conformance -- [PART...] [--only WORD] [--server HTTP,GRPC]`: real clients against our server, or another's.
 * `--install` only installs what the parts need.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { installAll, Unavailable } from "./install/index.ts";
import { writeRepository } from "./models.ts";
import { chartPart } from "./parts/chart.ts";
import { curlPart } from "./parts/curl.ts";
import { dnsPart } from "./parts/dns.ts";
import { examplesPart } from "./parts/examples.ts";
import { imagePart } from "./parts/image.ts";
import { h2specPart } from "./parts/h2spec.ts";
import { kedaPart, kubernetesPart } from "./parts/kubernetes.ts";
import { keycloakPart } from "./parts/keycloak.ts";
import { kserveClientPart } from "./parts/kserve-client.ts";
import { natsPart } from "./parts/nats.ts";
import { observePart } from "./parts/observe.ts";
import { openapiPart } from "./parts/openapi.ts";
import { otherServersPart } from "./parts/other-servers.ts";
import type { Outcome, Part } from "./parts/part.ts";
import { perfAnalyzerPart } from "./parts/perf-analyzer.ts";
import { oidcPart } from "./parts/oidc.ts";
import { otelPart } from "./parts/otel.ts";
import { pagesPart } from "./parts/pages.ts";
import { partsOfModelsPart } from "./parts/parts-of-models.ts";
import { pickPart } from "./parts/pick.ts";
import { prometheusPart } from "./parts/prometheus.ts";
import { providersPart } from "./parts/providers.ts";
import { pythonExamplePart } from "./parts/python-example.ts";
import { registryPart } from "./parts/registry.ts";
import { severalAnswersPart } from "./parts/several-answers.ts";
import { stepsElsewherePart } from "./parts/steps-elsewhere.ts";
import { stepsOfPipelinesPart } from "./parts/steps-of-pipelines.ts";
import { unitsPart } from "./parts/units.ts";
import { versionsPart } from "./parts/versions.ts";
import { type RunningPeer, startOwn } from "./servers/index.ts";

const parts: readonly Part[] = [
  chartPart,
  curlPart,
  examplesPart,
  imagePart,
  h2specPart,
  keycloakPart,
  kserveClientPart,
  kedaPart,
  kubernetesPart,
  perfAnalyzerPart,
  pickPart,
  providersPart,
  pythonExamplePart,
  openapiPart,
  natsPart,
  dnsPart,
  observePart,
  oidcPart,
  otelPart,
  otherServersPart,
  pagesPart,
  partsOfModelsPart,
  prometheusPart,
  registryPart,
  severalAnswersPart,
  stepsElsewherePart,
  stepsOfPipelinesPart,
  unitsPart,
  versionsPart,
];

function options(args: readonly string[]): {
  readonly chosen: readonly Part[];
  readonly only: readonly string[];
  readonly address: string | undefined;
} {
  const only: string[] = [];
  const names: string[] = [];
  let address: string | undefined;
  for (let at = 0; at < args.length; at++) {
    const word = args[at] ?? "";
    if (word === "--only") only.push(args[++at] ?? "");
    else if (word === "--server") address = args[++at];
    else names.push(word);
  }
  const unknown = names.find((name) => !parts.some((part) => part.name === name));
  if (unknown !== undefined) {
    throw new Error(
      `unknown part '${unknown}'; usage: npm run conformance -- [${parts.map(({ name }) => name).join("|")}] [--only WORD] [--server HTTP,GRPC]`,
    );
  }
  const isChosen = ({ name, dear = false }: Part): boolean =>
    names.length === 0 ? !dear : names.includes(name);
  return { chosen: parts.filter(isChosen), only, address };
}

function given(address: string): RunningPeer {
  const [http = "", grpc] = address.split(",");
  return {
    name: "the given server",
    http,
    ...(grpc === undefined ? {} : { grpc }),
    settings: "",
    pid: 0,
    close: () => Promise.resolve(),
  };
}

async function main(): Promise<number> {
  if (process.argv[2] === "--install") {
    await installAll();
    return 0;
  }
  const { chosen, only, address } = options(process.argv.slice(2));
  const folder = await mkdtemp(join(tmpdir(), "longshore-conformance-"));
  const counts = { passed: 0, failed: 0, skipped: 0 };
  const told = (part: string) => (one: Outcome) => {
    counts[one.outcome]++;
    console.log(
      `  ${one.outcome.padEnd(7)} ${part}: ${one.name}${one.detail === "" ? "" : `: ${one.detail}`}`,
    );
  };
  const start = async (): Promise<RunningPeer> => {
    if (address !== undefined) return given(address);
    await writeRepository(folder);
    return startOwn({
      repository: folder,
      args: [
        "--model-control",
        "explicit",
        "--load-model",
        "*",
        "--model-uploads",
        "--allow-management",
        "--shared-memory",
        "/",
      ],
    });
  };
  const server = await start();
  try {
    for (const part of chosen) {
      const started = performance.now();
      try {
        await part.run({ server, only, told: told(part.name) });
      } catch (thrown) {
        const missing = thrown instanceof Unavailable;
        told(part.name)({
          name: "all of it",
          outcome: missing ? "skipped" : "failed",
          detail: thrown instanceof Error ? thrown.message : String(thrown),
        });
      }
      console.log(`  ${part.name} took ${((performance.now() - started) / 1000).toFixed(1)} s`);
    }
  } finally {
    await server.close();
    await rm(folder, { recursive: true, force: true });
  }
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  return counts.failed === 0 ? 0 : 1;
}

main().then(
  (code) => process.exit(code),
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  },
);
