import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import { createServer } from "node:http";
import { join } from "node:path";
import { type MonitoringTools, monitoringTools, must, run, Unavailable } from "../install/index.ts";
import { writeRepository } from "../models.ts";
import {
  command,
  freePort,
  type RunningPeer,
  startGateway,
  startOwn,
  startServerProcess,
} from "../servers/index.ts";
import { asked, inFolder, lastWords, type Open, type Part, type PartContext } from "./part.ts";

const model = "simple";
const values = Array.from({ length: 16 }, () => 1);
const body = JSON.stringify({
  inputs: ["INPUT0", "INPUT1"].map((name) => ({ name, datatype: "INT32", shape: [1, 16], data: values })),
});
const levels = `match: { job: longshore }
objectives:
  - { name: simple-answered, model: ${model}, targetRatio: 0.999 }
  - { name: simple-fast, model: ${model}, withinMs: 204.8, targetRatio: 0.99 }
`;

/** An hour with 2 % of bad answers and one without, by `promtool`: whether alerts fire when they should, and for that objective alone. */
const ruleTests = `rule_files: [rules.yaml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: 'longshore_request_duration_seconds_count{job="longshore",model="${model}",outcome="answered"}'
        values: '0+98x120'
      - series: 'longshore_request_duration_seconds_count{job="longshore",model="${model}",outcome="failed"}'
        values: '0+2x60 120x60'
      - series: 'longshore_request_duration_seconds_count{job="longshore",model="${model}",outcome="caller-error"}'
        values: '0+500x120'
      - series: 'longshore_request_duration_seconds_bucket{job="longshore",model="${model}",outcome="answered",le="0.2048"}'
        values: '0+98x120'
      - series: 'longshore_resident_memory_bytes{job="longshore"}'
        values: '1+0x120'
    promql_expr_test:
      - expr: round(longshore:slo_bad:ratio_rate5m, 0.0001)
        eval_time: 30m
        exp_samples:
          - { labels: '{slo="simple-answered",model="${model}"}', value: 0.02 }
          - { labels: '{slo="simple-fast",model="${model}"}', value: 0.02 }
    alert_rule_test:
      - alertname: LongshoreErrorBudgetBurns
        eval_time: 45m
        exp_alerts:
          - exp_labels: { slo: simple-answered, model: ${model}, severity: page, window: 1h }
            exp_annotations:
              summary: 'simple-answered: the error budget burns 14.4 times too fast'
              description: 'Objective: 99.9 % of requests for ${model} are answered over 30 days. In 1h, 2% of the answers were bad; at this rate 2 % of the budget goes every 1h.'
          - exp_labels: { slo: simple-answered, model: ${model}, severity: page, window: 6h }
            exp_annotations:
              summary: 'simple-answered: the error budget burns 6 times too fast'
              description: 'Objective: 99.9 % of requests for ${model} are answered over 30 days. In 6h, 2% of the answers were bad; at this rate 5 % of the budget goes every 6h.'
          - exp_labels: { slo: simple-answered, model: ${model}, severity: ticket, window: 1d }
            exp_annotations:
              summary: 'simple-answered: the error budget burns 3 times too fast'
              description: 'Objective: 99.9 % of requests for ${model} are answered over 30 days. In 1d, 2% of the answers were bad; at this rate 10 % of the budget goes every 1d.'
          - exp_labels: { slo: simple-answered, model: ${model}, severity: ticket, window: 3d }
            exp_annotations:
              summary: 'simple-answered: the error budget burns 1 times too fast'
              description: 'Objective: 99.9 % of requests for ${model} are answered over 30 days. In 3d, 2% of the answers were bad; at this rate 10 % of the budget goes every 3d.'
          - exp_labels: { slo: simple-fast, model: ${model}, severity: ticket, window: 3d }
            exp_annotations:
              summary: 'simple-fast: the error budget burns 1 times too fast'
              description: 'Objective: 99 % of requests for ${model} are answered within 204.8 ms over 30 days. In 3d, 2% of the answers were bad; at this rate 10 % of the budget goes every 3d.'
      - alertname: LongshoreMetricsMissing
        eval_time: 45m
        exp_alerts: []
  - interval: 1m
    input_series:
      - series: 'longshore_model_states_total{job="longshore",instance="a",model="m",state="unavailable"}'
        values: '0x9 1x60'
      - series: 'longshore_model_states_total{job="longshore",instance="b",model="m",state="unavailable"}'
        values: '_x9 1x60'
      - series: 'longshore_model_states_total{job="longshore",instance="c",model="m",state="unavailable"}'
        values: '0x70'
      - series: 'longshore_quarantines_total{job="longshore",instance="a",endpoint="e",by="agreement"}'
        values: '_x9 1x60'
    alert_rule_test:
      - alertname: LongshoreModelUnavailable
        eval_time: 15m
        exp_alerts:
          - exp_labels: { severity: ticket, job: longshore, instance: a, model: m, state: unavailable }
            exp_annotations: { summary: 'm could not be loaded at a' }
          - exp_labels: { severity: ticket, job: longshore, instance: b, model: m, state: unavailable }
            exp_annotations: { summary: 'm could not be loaded at b' }
      - alertname: LongshoreModelUnavailable
        eval_time: 50m
        exp_alerts: []
      - alertname: LongshoreEndpointQuarantined
        eval_time: 15m
        exp_alerts:
          - exp_labels: { severity: ticket, job: longshore, instance: a, endpoint: e, by: agreement }
            exp_annotations: { summary: 'Answers of e are wrong, and it is not used any more' }
  - interval: 1m
    input_series: []
    alert_rule_test:
      - alertname: LongshoreMetricsMissing
        eval_time: 10m
        exp_alerts:
          - exp_labels: { severity: page, job: longshore }
            exp_annotations: { summary: 'No metrics of Longshore: no server runs, or none is scraped' }
`;

function expectThat(holds: boolean, told: string): void {
  if (!holds) throw new Error(told);
}

async function until<T>(what: string, look: () => Promise<T | undefined>): Promise<T> {
  for (let round = 0; round < 240; round++) {
    const found = await look().catch(() => undefined);
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 500));
  }
  throw new Error(`${what}: not within two minutes`);
}

interface Answer {
  readonly status: string;
  readonly error?: string;
  readonly data?: { readonly result: readonly { readonly metric: Readonly<Record<string, string>> }[] };
}

async function ask(http: string, expr: string): Promise<Answer> {
  const reply = await fetch(`http://${http}/api/v1/query?query=${encodeURIComponent(expr)}`);
  return (await reply.json()) as Answer;
}

/** The message that Alertmanager sends to a pager. */
async function webhook(open: Open[]): Promise<{ readonly port: number; readonly fired: string[] }> {
  const fired: string[] = [];
  const server = createServer((request, response) => {
    let text = "";
    request.on("data", (chunk: Buffer) => (text += chunk.toString()));
    request.on("end", () => {
      const { alerts = [] } = JSON.parse(text) as {
        readonly alerts?: readonly {
          readonly status: string;
          readonly labels: Readonly<Record<string, string>>;
        }[];
      };
      for (const { status, labels } of alerts) {
        fired.push(
          `${status} ${labels["alertname"]} ${labels["slo"] ?? ""} ${labels["severity"] ?? ""}`.trim(),
        );
      }
      response.end();
    });
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  open.push({ close: async () => void server.close() });
  const address = server.address();
  return { port: typeof address === "object" && address ? address.port : 0, fired };
}

interface Monitoring {
  readonly prometheus: string;
  readonly fired: readonly string[];
}

async function startMonitoring(
  tools: MonitoringTools,
  folder: string,
  targets: readonly string[],
  open: Open[],
): Promise<Monitoring> {
  const { code, err } = await run("unshare", ["--mount", "mount", "--bind", tools.share, "/usr/share"]);
  if (code !== 0) throw new Unavailable(`Debian's Alertmanager needs a mount: ${lastWords(err)}`);
  const hook = await webhook(open);
  const [port, alertPort] = [await freePort(), await freePort()];
  const write = async (name: string, value: unknown): Promise<string> => {
    await writeFile(join(folder, name), typeof value === "string" ? value : JSON.stringify(value));
    return join(folder, name);
  };
  const alerts = await write("alertmanager.json", {
    route: { receiver: "people", group_wait: "1s", group_interval: "1s", repeat_interval: "1h" },
    receivers: [
      { name: "people", webhook_configs: [{ url: `http://127.0.0.1:${hook.port}/`, send_resolved: false }] },
    ],
  });
  const main = await write("prometheus.json", {
    global: { scrape_interval: "1s", evaluation_interval: "1s" },
    rule_files: [join(folder, "rules.yaml")],
    alerting: { alertmanagers: [{ static_configs: [{ targets: [`127.0.0.1:${alertPort}`] }] }] },
    scrape_configs: [{ job_name: "longshore", static_configs: [{ targets }] }],
  });
  open.push(
    await startServerProcess({
      // In a mount namespace of its own, so that nothing of the machine is changed.
      command: "unshare",
      args: [
        "--mount",
        "sh",
        "-c",
        'mount --bind "$0" /usr/share && exec "$@"',
        tools.share,
        tools.alertmanager,
        `--config.file=${alerts}`,
        `--storage.path=${join(folder, "alerts")}`,
        `--web.listen-address=127.0.0.1:${alertPort}`,
        "--cluster.listen-address=",
      ],
      readyUrl: `http://127.0.0.1:${alertPort}/-/ready`,
    }),
    await startServerProcess({
      command: tools.prometheus,
      args: [
        `--config.file=${main}`,
        `--storage.tsdb.path=${join(folder, "series")}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      readyUrl: `http://127.0.0.1:${port}/-/ready`,
    }),
  );
  return { prometheus: `127.0.0.1:${port}`, fired: hook.fired };
}

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly targets?: readonly { readonly expr: string }[];
  }[];
}

/** Panels of what does not happen to two healthy servers without caches or a directory. */
const mayBeEmpty = new Set([
  "Failures by reason",
  "Wrong answers",
  "Answers from the cache",
  "Age of the directory",
]);

async function checkDashboard({ prometheus }: Monitoring, text: string): Promise<string> {
  const { panels } = JSON.parse(text) as Dashboard;
  const queries = panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => ({ title, expr })));
  const empty: string[] = [];
  for (const { title, expr } of queries) {
    const asks = expr.replaceAll("$__rate_interval", "30s").replaceAll(/\$(?:model|instance)/g, ".*");
    const { status, error, data } = await ask(prometheus, asks);
    expectThat(status === "success", `${title}: ${error ?? status}: ${asks}`);
    if ((data?.result.length ?? 0) === 0) empty.push(title);
  }
  const wrong = empty.filter((title) => !mayBeEmpty.has(title));
  expectThat(wrong.length === 0, `nothing to show in ${wrong.join(", ")}`);
  return `${queries.length} queries, ${queries.length - empty.length} with data`;
}

async function infer({ http }: RunningPeer): Promise<number> {
  const reply = await fetch(`http://${http}/v2/models/${model}/infer`, { method: "POST", body });
  await reply.arrayBuffer();
  return reply.status;
}

async function check(context: PartContext, folder: string, open: Open[]): Promise<void> {
  const told = async (name: string, work: () => Promise<string>): Promise<void> => {
    const ended = await work().then(
      (detail) => ({ outcome: "passed" as const, detail }),
      (thrown: unknown) => ({
        outcome: "failed" as const,
        detail: thrown instanceof Error ? thrown.message : String(thrown),
      }),
    );
    context.told({ name, ...ended });
  };
  const tools = await monitoringTools();
  await writeFile(join(folder, "slo.yaml"), levels);
  const own = (...args: readonly string[]): Promise<string> => must(process.execPath, [command, ...args]);
  await writeFile(join(folder, "rules.yaml"), await own("slo", "rules", join(folder, "slo.yaml")));
  await writeFile(join(folder, "tests.yaml"), ruleTests);
  await told("promtool takes the rules, and they fire in its tests when they should", async () => {
    const good = await run(tools.promtool, ["check", "rules", join(folder, "rules.yaml")]);
    expectThat(good.code === 0, lastWords(good.err, good.out));
    const tested = await run(tools.promtool, ["test", "rules", join(folder, "tests.yaml")]);
    expectThat(tested.code === 0, `${tested.out}${tested.err}`.slice(0, 3000));
    return lastWords(good.out);
  });

  await writeRepository(join(folder, "models"));
  const server = await startOwn({ repository: join(folder, "models") });
  open.push(server);
  const gateway = await startGateway({ servers: [server.http], args: ["--at-price", "per-request=2"] });
  open.push(gateway);
  const monitoring = await startMonitoring(tools, folder, [server.http, gateway.http], open);
  await until("recorded objectives", async () => {
    // Some of them come before Prometheus has found its targets.
    expectThat((await infer(gateway)) === 200, "the gateway answers");
    const { data } = await ask(monitoring.prometheus, "longshore:slo_bad:ratio_rate1h");
    return data?.result.length === 2 ? true : undefined;
  });
  for (let round = 0; round < 10; round++) {
    await infer(gateway);
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  const printed = await own("slo", "dashboard");
  await told("each query of the dashboard is one of Prometheus and has data", () =>
    checkDashboard(monitoring, printed),
  );
  await told("people are called when the server behind the gateway is gone", async () => {
    expectThat(monitoring.fired.length === 0, `called before: ${monitoring.fired.join(", ")}`);
    const startedMs = performance.now();
    await server.close();
    let failed = 0;
    await until("the alert", async () => {
      if ((await infer(gateway)) >= 500) failed++;
      return monitoring.fired.some((line) => line === "firing LongshoreErrorBudgetBurns simple-answered page")
        ? true
        : undefined;
    });
    const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
    return `${failed} failures, called after ${seconds} s`;
  });
}

/** Rules, dashboard and alerts in a real Prometheus and Alertmanager. */
export const prometheusPart: Part = {
  name: "prometheus",
  async run(context) {
    if (!asked(context, "prometheus")) return;
    await inFolder("prometheus", (folder, open) => check(context, folder, open));
  },
};
