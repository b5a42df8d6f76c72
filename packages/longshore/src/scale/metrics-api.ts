import type { Handler } from "@longshore/core";
import { LongshoreError } from "@longshore/core";
import type { Numbers } from "./numbers.ts";

/** The group of the Kubernetes API that a HorizontalPodAutoscaler reads external metrics from. */
const group = "external.metrics.k8s.io";
const version = "v1beta1";
const root = `/apis/${group}/${version}`;
const externalMetric = "longshore-needed-endpoints";

/** A `Status` of Kubernetes. */
function status(code: number, reason: string, message: string): object {
  return { kind: "Status", apiVersion: "v1", metadata: {}, status: "Failure", reason, message, code };
}

/** Requirements of a label selector that this API can keep: `model=a`, `model==a`, `model in (a)`. */
function modelOf(selector: string): string | undefined {
  if (selector.trim() === "") return undefined;
  const [, equal, listed] = /^\s*model\s*(?:==?\s*(\S+)|in\s*\(\s*([^,)\s]+)\s*\))\s*$/.exec(selector) ?? [];
  const model = equal ?? listed;
  if (model === undefined) {
    const what = `the selector '${selector.slice(0, 80)}' must name one model, such as model=ocr, or be empty for all models`;
    throw new LongshoreError("invalid-input", "decode", what);
  }
  return model;
}

const resources = {
  kind: "APIResourceList",
  apiVersion: "v1",
  groupVersion: `${group}/${version}`,
  resources: [
    {
      name: externalMetric,
      singularName: "",
      namespaced: true,
      kind: "ExternalMetricValueList",
      verbs: ["get"],
    },
  ],
};

/** Answers discovery and reads of the metric, in any namespace. `wallMs` stamps values. */
export function metricsApi(numbers: Numbers, wallMs: () => number): Handler {
  const encoder = new TextEncoder();
  const reply = (code: number, value: object) => ({
    status: code,
    headers: { "content-type": "application/json" },
    body: { kind: "parts" as const, parts: [encoder.encode(JSON.stringify(value))] },
  });
  return async ({ method, path }) => {
    const url = new URL(path, "http://localhost");
    const { pathname } = url;
    if (method !== "GET")
      return reply(405, status(405, "MethodNotAllowed", "external metrics are only read"));
    if (pathname === "/healthz" || pathname === "/readyz") return reply(200, {});
    if (pathname === root || pathname === `${root}/`) return reply(200, resources);
    const [, metric] = new RegExp(`^${root}/namespaces/[^/]+/([^/]+)$`).exec(pathname) ?? [];
    if (metric === undefined)
      return reply(404, status(404, "NotFound", `there is nothing at ${pathname.slice(0, 200)}`));
    if (metric !== externalMetric) {
      const what = `there is no metric ${metric.slice(0, 80)}; there is ${externalMetric}`;
      return reply(404, status(404, "NotFound", what));
    }
    try {
      const model = modelOf(url.searchParams.get("labelSelector") ?? "");
      const { needed } = numbers.decision(model, undefined);
      if (needed === undefined) {
        const what = "not enough requests were seen yet to tell";
        return reply(503, status(503, "ServiceUnavailable", what));
      }
      return reply(200, {
        kind: "ExternalMetricValueList",
        apiVersion: `${group}/${version}`,
        metadata: {},
        items: [
          {
            metricName: externalMetric,
            metricLabels: model === undefined ? {} : { model },
            timestamp: `${new Date(wallMs()).toISOString().slice(0, 19)}Z`,
            value: String(needed),
          },
        ],
      });
    } catch (thrown) {
      const { reason, message } = LongshoreError.from(thrown, "resolve", "reading the metric");
      return reason === "unknown-model"
        ? reply(404, status(404, "NotFound", message))
        : reply(400, status(400, "BadRequest", message));
    }
  };
}
