/** A panel of the dashboard. */
interface Panel {
  readonly title: string;
  readonly help: string;
  readonly unit: "s" | "reqps" | "percentunit" | "bytes" | "short" | "watt" | "currency";
  readonly queries: readonly { readonly expr: string; readonly legend: string }[];
}

const model = 'model=~"$model",instance=~"$instance"';
const instance = 'instance=~"$instance"';
const served = 'outcome!="caller-error"';
const requests = "longshore_request_duration_seconds";
const window = "[$__rate_interval]";
const total = `sum by (model) (rate(${requests}_count{${model},${served}}${window}))`;

function quantile(ratio: number, metric: string, labels: string, by: string): string {
  return `histogram_quantile(${ratio}, sum by (le, ${by}) (rate(${metric}_bucket{${labels}}${window})))`;
}

const quantiles = (metric: string, labels: string, by: string): Panel["queries"] =>
  ([0.5, 0.95, 0.99] as const).map((ratio) => ({
    expr: quantile(ratio, metric, labels, by),
    legend: `p${Math.round(ratio * 100)} {{${by}}}`,
  }));

/** Rows of the dashboard, in the order of a request: what users get, where it runs, what it costs, how the servers are. */
const rows: readonly { readonly title: string; readonly panels: readonly Panel[] }[] = [
  {
    title: "What users get",
    panels: [
      {
        title: "Requests",
        help: "Inferences by model.",
        unit: "reqps",
        queries: [
          { expr: `sum by (model) (rate(${requests}_count{${model}}${window}))`, legend: "{{model}}" },
        ],
      },
      {
        title: "Time to answer",
        help: "From arrival to reply, of answered requests.",
        unit: "s",
        queries: quantiles(requests, `${model},outcome="answered"`, "model"),
      },
      {
        title: "Failures of the service",
        help: "Share of requests that were not answered, without those that failed for a reason of the caller's.",
        unit: "percentunit",
        queries: [
          {
            expr: `1 - (sum by (model) (rate(${requests}_count{${model},outcome="answered"}${window})) or 0 * ${total}) / (${total} > 0)`,
            legend: "{{model}}",
          },
        ],
      },
      {
        title: "Failures by reason",
        help: "The reasons are those of the protocol.",
        unit: "reqps",
        queries: [
          {
            expr: `sum by (reason, stage) (rate(longshore_failures_total{${instance}}${window}))`,
            legend: "{{reason}} in {{stage}}",
          },
        ],
      },
    ],
  },
  {
    title: "Where it runs",
    panels: [
      {
        title: "Legs by endpoint",
        help: "Runs that plans began, by endpoint and how they ended.",
        unit: "reqps",
        queries: [
          {
            expr: `sum by (endpoint, outcome) (rate(longshore_legs_total{${instance}}${window}))`,
            legend: "{{endpoint}}: {{outcome}}",
          },
        ],
      },
      {
        title: "Time of requests to other servers",
        help: "Network included.",
        unit: "s",
        queries: quantiles("longshore_sent_request_duration_seconds", instance, "endpoint"),
      },
      {
        title: "Time by stage",
        help: "95th percentile of each stage of an inference.",
        unit: "s",
        queries: [
          { expr: quantile(0.95, "longshore_stage_duration_seconds", model, "stage"), legend: "{{stage}}" },
        ],
      },
      {
        title: "Wrong answers",
        help: "Answers of endpoints that were checked, and endpoints that are not believed any more.",
        unit: "short",
        queries: [
          {
            expr: `sum by (endpoint, outcome) (increase(longshore_answer_checks_total{${instance}}[1h]))`,
            legend: "{{endpoint}}: {{outcome}}",
          },
          {
            expr: `sum by (endpoint) (increase(longshore_quarantines_total{${instance}}[1h]))`,
            legend: "{{endpoint}} quarantined",
          },
        ],
      },
    ],
  },
  {
    title: "What it costs",
    panels: [
      {
        title: "Cost",
        help: "Micros (1e-6 of your currency) per second.",
        unit: "currency",
        queries: [
          {
            expr: `sum by (endpoint) (rate(longshore_cost_micros_total{${instance}}${window}))`,
            legend: "{{endpoint}}",
          },
        ],
      },
      {
        title: "Power",
        help: "Energy of inferences, as far as it is known.",
        unit: "watt",
        queries: [
          {
            expr: `sum by (model) (rate(longshore_energy_joules_total{${model}}${window}))`,
            legend: "{{model}}",
          },
        ],
      },
      {
        title: "Bytes of requests and replies",
        help: "Per second.",
        unit: "bytes",
        queries: [
          { expr: `sum(rate(longshore_request_bytes_sum{${model}}${window}))`, legend: "in" },
          { expr: `sum(rate(longshore_reply_bytes_sum{${model}}${window}))`, legend: "out" },
        ],
      },
      {
        title: "Answers from the cache",
        help: "Share of cached models' requests.",
        unit: "percentunit",
        queries: [
          {
            expr: `sum by (model) (rate(nv_cache_num_hits_per_model{${model}}${window})) / (sum by (model) (rate(nv_cache_num_hits_per_model{${model}}${window})) + sum by (model) (rate(nv_cache_num_misses_per_model{${model}}${window})))`,
            legend: "{{model}}",
          },
        ],
      },
    ],
  },
  {
    title: "How the servers are",
    panels: [
      {
        title: "Queue",
        help: "Expected wait of a request that comes now.",
        unit: "s",
        queries: [{ expr: `longshore_load_queue_seconds{${instance}}`, legend: "{{instance}}" }],
      },
      {
        title: "Instances in use",
        help: "Share of loaded copies that run.",
        unit: "percentunit",
        queries: [{ expr: `longshore_load_cpu_ratio{${instance}}`, legend: "{{instance}}" }],
      },
      {
        title: "Batches",
        help: "Average rows of a run.",
        unit: "short",
        queries: [
          {
            expr: `sum by (model) (rate(longshore_batch_rows_sum{${instance}}${window})) / sum by (model) (rate(longshore_batch_rows_count{${instance}}${window}))`,
            legend: "{{model}}",
          },
        ],
      },
      {
        title: "Memory",
        help: "Resident memory of the processes.",
        unit: "bytes",
        queries: [{ expr: `longshore_resident_memory_bytes{${instance}}`, legend: "{{instance}}" }],
      },
      {
        title: "Delay of the event loop",
        help: "99th percentile since the last scrape.",
        unit: "s",
        queries: [{ expr: `longshore_event_loop_delay_seconds{${instance}}`, legend: "{{instance}}" }],
      },
      {
        title: "Age of the directory",
        help: "Time since the directory was last in touch.",
        unit: "s",
        queries: [{ expr: `longshore_directory_age_seconds{${instance}}`, legend: "{{instance}}" }],
      },
    ],
  },
  {
    title: "Objectives",
    panels: [
      {
        title: "Budget left",
        help: "Of each objective over its period (longshore slo rules).",
        unit: "percentunit",
        queries: [{ expr: "longshore:slo_budget_left:ratio", legend: "{{slo}}" }],
      },
      {
        title: "Bad answers in an hour",
        help: "Share, by objective.",
        unit: "percentunit",
        queries: [{ expr: "longshore:slo_bad:ratio_rate1h", legend: "{{slo}}" }],
      },
    ],
  },
];

const units: Readonly<Record<Panel["unit"], string>> = {
  s: "s",
  reqps: "reqps",
  percentunit: "percentunit",
  bytes: "bytes",
  short: "short",
  watt: "watt",
  currency: "short",
};
const datasource = { type: "prometheus", uid: "${datasource}" } as const;

function variable(name: string, metric: string): object {
  return {
    name,
    type: "query",
    datasource,
    query: { query: `label_values(${metric}, ${name})`, refId: name },
    definition: `label_values(${metric}, ${name})`,
    refresh: 2,
    includeAll: true,
    allValue: ".*",
    multi: true,
    current: { selected: true, text: "All", value: "$__all" },
  };
}

/** Four panels in a row of Grafana's 24 columns. */
const panelWidth = 6;
const panelHeight = 8;

/** The dashboard as Grafana imports it: a fleet of servers, gateways and pickers. */
export function dashboard(): object {
  const panels: object[] = [];
  let y = 0;
  const next = (): number => panels.length + 1;
  for (const row of rows) {
    panels.push({
      id: next(),
      type: "row",
      title: row.title,
      collapsed: false,
      gridPos: { x: 0, y, w: 24, h: 1 },
      panels: [],
    });
    y++;
    for (const [at, { title, help, unit, queries }] of row.panels.entries()) {
      panels.push({
        id: next(),
        type: "timeseries",
        title,
        description: help,
        datasource,
        gridPos: {
          x: (at % 4) * panelWidth,
          y: y + Math.floor(at / 4) * panelHeight,
          w: panelWidth,
          h: panelHeight,
        },
        fieldConfig: { defaults: { unit: units[unit], min: 0, custom: { fillOpacity: 10 } }, overrides: [] },
        options: { legend: { displayMode: "list", placement: "bottom" }, tooltip: { mode: "multi" } },
        targets: queries.map(({ expr, legend }, index) => ({
          refId: String.fromCharCode(65 + index),
          datasource,
          expr,
          legendFormat: legend,
        })),
      });
    }
    y += Math.ceil(row.panels.length / 4) * panelHeight;
  }
  return {
    uid: "longshore",
    title: "Longshore",
    tags: ["longshore"],
    schemaVersion: 39,
    editable: true,
    refresh: "30s",
    time: { from: "now-6h", to: "now" },
    templating: {
      list: [
        { name: "datasource", type: "datasource", query: "prometheus", current: {} },
        variable("instance", "longshore_resident_memory_bytes"),
        variable("model", `${requests}_count`),
      ],
    },
    panels,
  };
}
