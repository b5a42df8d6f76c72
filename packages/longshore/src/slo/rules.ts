import type { ServiceLevels, ServiceObjective } from "./objectives.ts";

/**
 * Recording and alerting rules of Prometheus for service levels: an alert fires while the error budget burns too fast in a long window and still
 * does in a short one (Beyer and others, "The Site Reliability Workbook", 2018, chapter 5). The long window says that it matters, the short one
 * ends the alert soon after the cause is gone.
 */

/** One pair of windows, in hours, and the share of the budget that burns in the long one when the alert fires. */
interface BurnWindow {
  readonly longHours: number;
  readonly shortHours: number;
  readonly budgetRatio: number;
  readonly severity: "page" | "ticket";
}

const burnWindows: readonly BurnWindow[] = [
  { longHours: 1, shortHours: 1 / 12, budgetRatio: 0.02, severity: "page" },
  { longHours: 6, shortHours: 0.5, budgetRatio: 0.05, severity: "page" },
  { longHours: 24, shortHours: 2, budgetRatio: 0.1, severity: "ticket" },
  { longHours: 72, shortHours: 6, budgetRatio: 0.1, severity: "ticket" },
];

/** A rule of Prometheus. */
export interface AlertRule {
  readonly record?: string;
  readonly alert?: string;
  readonly expr: string;
  readonly for?: string;
  readonly labels?: Readonly<Record<string, string>>;
  readonly annotations?: Readonly<Record<string, string>>;
}

/** Rules that are evaluated together. */
export interface RuleGroup {
  readonly name: string;
  readonly rules: readonly AlertRule[];
}

/** Matchers of labels in PromQL, with braces; empty for none. */
export function selector(labels: Readonly<Record<string, string>>, ...more: readonly string[]): string {
  const all = [...Object.entries(labels).map(([name, value]) => `${name}=${JSON.stringify(value)}`), ...more];
  return all.length === 0 ? "" : `{${all.join(",")}}`;
}

/** A duration of Prometheus. */
function duration(hours: number): string {
  if (hours < 1) return `${Math.round(hours * 60)}m`;
  return hours % 24 === 0 ? `${hours / 24}d` : `${hours}h`;
}

/** Leaves out requests that failed for a reason of the caller's. */
const served = 'outcome!="caller-error"';

/** The share of bad answers in a window. A server that gives no good answer has no series of good ones. */
function badRatio({ match }: ServiceLevels, { model, withinMs }: ServiceObjective, window: string): string {
  const labels = model === undefined ? match : { ...match, model };
  const metric = "longshore_request_duration_seconds";
  const total = `sum(rate(${metric}_count${selector(labels, served)}[${window}]))`;
  const good =
    withinMs === undefined
      ? `sum(rate(${metric}_count${selector(labels, 'outcome="answered"')}[${window}]))`
      : `sum(rate(${metric}_bucket${selector(labels, 'outcome="answered"', `le="${withinMs / 1000}"`)}[${window}]))`;
  return `(${total} - (${good} or 0 * ${total})) / (${total} > 0)`;
}

const badName = (window: string): string => `longshore:slo_bad:ratio_rate${window}`;

/** The name of the objective for people. */
function words({ model, withinMs, targetRatio, windowDays }: ServiceObjective): string {
  const what = withinMs === undefined ? "are answered" : `are answered within ${withinMs} ms`;
  return `${+(targetRatio * 100).toFixed(4)} % of requests${model === undefined ? "" : ` for ${model}`} ${what} over ${windowDays} days`;
}

/** Windows in which the budget can burn that fast. */
function windowsOf({
  targetRatio,
  windowDays,
}: ServiceObjective): readonly (BurnWindow & { readonly burnRate: number })[] {
  const hours = 24 * windowDays;
  return burnWindows
    .map((one) => ({ ...one, burnRate: (one.budgetRatio * hours) / one.longHours }))
    .filter(
      ({ longHours, burnRate }) => longHours < hours && burnRate >= 1 && burnRate * (1 - targetRatio) < 1,
    );
}

function objectiveGroup(levels: ServiceLevels, objective: ServiceObjective): RuleGroup {
  const { name, model, targetRatio, windowDays } = objective;
  const labels = { slo: name, ...(model === undefined ? {} : { model }) };
  const windows = windowsOf(objective);
  const period = duration(24 * windowDays);
  const needed = new Set([
    ...windows.flatMap((one) => [duration(one.shortHours), duration(one.longHours)]),
    period,
  ]);
  const budget = +(1 - targetRatio).toPrecision(6);
  return {
    name: `longshore-slo-${name}`,
    rules: [
      ...[...needed].map((window) => ({
        record: badName(window),
        expr: badRatio(levels, objective, window),
        labels,
      })),
      { record: "longshore:slo_target:ratio", expr: `vector(${targetRatio})`, labels },
      {
        record: "longshore:slo_budget_left:ratio",
        expr: `1 - ${badName(period)}{slo="${name}"} / ${budget}`,
        labels,
      },
      ...windows.map(({ longHours, shortHours, burnRate, budgetRatio, severity }) => {
        const limit = +(burnRate * budget).toPrecision(6);
        const of = (hours: number): string => `${badName(duration(hours))}{slo="${name}"} > ${limit}`;
        return {
          alert: "LongshoreErrorBudgetBurns",
          expr: `${of(longHours)} and ${of(shortHours)}`,
          labels: { ...labels, severity, window: duration(longHours) },
          annotations: {
            summary: `${name}: the error budget burns ${+burnRate.toPrecision(3)} times too fast`,
            description: `Objective: ${words(objective)}. In ${duration(longHours)}, {{ $value | humanizePercentage }} of the answers were bad; at this rate ${+(budgetRatio * 100).toFixed(2)} % of the budget goes every ${duration(longHours)}.`,
          },
        };
      }),
    ],
  };
}

/**
 * An event in the last 15 minutes. A counter that begins above 0 has no increase: so does that of a server which starts with the event before it
 * is first scraped.
 */
function happened(series: string): string {
  return `increase(${series}[15m]) > 0 or (${series} > 0 unless ${series} offset 15m)`;
}

function operationGroup({ match }: ServiceLevels): RuleGroup {
  const ticket = { severity: "ticket" };
  const of = selector(match);
  return {
    name: "longshore-operation",
    rules: [
      {
        alert: "LongshoreMetricsMissing",
        expr: `absent(longshore_resident_memory_bytes${of})`,
        for: "5m",
        labels: { severity: "page" },
        annotations: { summary: "No metrics of Longshore: no server runs, or none is scraped" },
      },
      {
        alert: "LongshoreModelUnavailable",
        expr: happened(`longshore_model_states_total${selector(match, 'state="unavailable"')}`),
        labels: ticket,
        annotations: { summary: "{{ $labels.model }} could not be loaded at {{ $labels.instance }}" },
      },
      {
        alert: "LongshoreEndpointQuarantined",
        expr: happened(`longshore_quarantines_total${of}`),
        labels: ticket,
        annotations: { summary: "Answers of {{ $labels.endpoint }} are wrong, and it is not used any more" },
      },
      {
        alert: "LongshoreDirectoryStale",
        expr: `longshore_directory_age_seconds${of} > 900`,
        for: "5m",
        labels: ticket,
        annotations: {
          summary:
            "{{ $labels.instance }} has not heard from its directory for {{ $value | humanizeDuration }}",
        },
      },
      {
        alert: "LongshoreEventLoopLate",
        expr: `longshore_event_loop_delay_seconds${of} > 0.5`,
        for: "10m",
        labels: ticket,
        annotations: {
          summary:
            "{{ $labels.instance }} is overloaded: its event loop is {{ $value | humanizeDuration }} late",
        },
      },
    ],
  };
}

/** The rules for a service-level file: a group for each objective, and one about servers that do not work as they should. */
export function ruleGroups(levels: ServiceLevels): readonly RuleGroup[] {
  return [...levels.objectives.map((one) => objectiveGroup(levels, one)), operationGroup(levels)];
}

/** The rules as a file of Prometheus. Text is quoted as JSON, which YAML reads. */
export function rulesYaml(groups: readonly RuleGroup[]): string {
  const lines = ["groups:"];
  const mapping = (key: string, values: Readonly<Record<string, string>> | undefined): void => {
    if (!values || Object.keys(values).length === 0) return;
    lines.push(`        ${key}:`);
    for (const [name, value] of Object.entries(values))
      lines.push(`          ${name}: ${JSON.stringify(value)}`);
  };
  for (const { name, rules } of groups) {
    lines.push(`  - name: ${name}`, "    rules:");
    for (const rule of rules) {
      lines.push(
        rule.alert === undefined ? `      - record: ${rule.record}` : `      - alert: ${rule.alert}`,
      );
      lines.push(`        expr: ${JSON.stringify(rule.expr)}`);
      if (rule.for !== undefined) lines.push(`        for: ${rule.for}`);
      mapping("labels", rule.labels);
      mapping("annotations", rule.annotations);
    }
  }
  return lines.join("\n");
}
