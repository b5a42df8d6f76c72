import {
  type Call,
  isTrustLevel,
  LongshoreError,
  ownCall,
  type Rules,
  type TraceContext,
} from "../../words/base/index.ts";
import {
  deadlineHeader,
  goalHeader,
  maxCostHeader,
  idempotencyHeader,
  mostWaitHeader,
  pathHeader,
  rightsHeader,
  rulesHeader,
  traceHeader,
  traceStateHeader,
} from "./names.ts";

type Headers = Readonly<Record<string, string>>;

/** The most endpoints that a call may have been through, and the most zones that its rules may name. */
const maxPath = 16;
/** The most characters of an encoded idempotency key. */
const maxKeyLength = 512;
/** The most zones in one header. */
const maxZones = 64;

function invalid(header: string, wanted: string): LongshoreError {
  return new LongshoreError("invalid-input", "admission", `header ${header} must be ${wanted}`);
}

function decoded(word: string, header: string): string {
  try {
    return decodeURIComponent(word);
  } catch {
    throw invalid(header, "made of percent-encoded words");
  }
}

function rulesText({ dataClass, leastTrust, zones, confirm }: Rules): string {
  const known = `class=${encodeURIComponent(dataClass)};trust=${leastTrust}`;
  const where = zones ? `;zones=${zones.map(encodeURIComponent).join(",")}` : "";
  return confirm ? `${known}${where};confirm=true` : known + where;
}

function rulesFrom(text: string, base: Rules): Rules {
  let { dataClass, leastTrust, zones, confirm } = base;
  for (const rule of text.split(";")) {
    const at = rule.indexOf("=");
    const key = rule.slice(0, at).trim();
    const value = rule.slice(at + 1).trim();
    if (key === "class") {
      dataClass = decoded(value, rulesHeader);
    } else if (key === "trust" && isTrustLevel(value)) {
      leastTrust = value;
    } else if (key === "zones") {
      const words = value === "" ? [] : value.split(",");
      if (words.length > maxZones) throw invalid(rulesHeader, `a list of at most ${maxZones} zones`);
      zones = words.map((word) => decoded(word.trim(), rulesHeader));
    } else if (key === "confirm" && value === "true") {
      confirm = true;
    } else {
      // A rule that is not understood cannot be kept, so the request must not be run.
      throw new LongshoreError(
        "policy-denied",
        "admission",
        `the header ${rulesHeader} carries a rule that is not known here: '${rule.trim().slice(0, 64)}'; known: class, trust, zones and confirm=true`,
      );
    }
  }
  return { dataClass, leastTrust, ...(zones ? { zones } : {}), ...(confirm ? { confirm } : {}) };
}

/** Version 00 ends after the flags; later ones may go on after a dash and are read as far as they are known. */
const traceparent =
  /^(?:00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})|(?!00|ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?)$/;
/** Key and value pairs with commas between, which this program does not read. */
const tracestate = /^[ -~]{1,512}$/;

/** The trace context of a request; an invalid one is ignored, as the W3C recommendation demands. */
export function traceFromHeaders(headers: Headers): TraceContext | undefined {
  const parent = headers[traceHeader];
  const found = parent === undefined ? null : traceparent.exec(parent.trim());
  const traceId = found?.[1] ?? found?.[4];
  const spanId = found?.[2] ?? found?.[5];
  const flags = found?.[3] ?? found?.[6];
  if (!traceId || !spanId || !flags || /^0+$/.test(traceId) || /^0+$/.test(spanId)) return undefined;
  const state = headers[traceStateHeader];
  return {
    traceId,
    spanId,
    sampled: (Number.parseInt(flags, 16) & 1) === 1,
    ...(state !== undefined && tracestate.test(state) ? { state } : {}),
  };
}

/** The parts of a call that travel as headers. The deadline travels as remaining milliseconds, since clocks differ. */
export function callHeaders(call: Call, nowMs: number): Record<string, string> {
  // Assigned one by one: keys that are computed within a literal take engines much longer.
  const headers: Record<string, string> = {};
  headers[rulesHeader] = rulesText(call.rules);
  if (call.deadlineMs !== Infinity) {
    headers[deadlineHeader] = String(Math.round((call.deadlineMs - nowMs) * 1000) / 1000);
  }
  if (call.mostWaitMs !== undefined) headers[mostWaitHeader] = call.mostWaitMs.toFixed(3);
  if (call.maxCostMicros !== undefined) headers[maxCostHeader] = String(call.maxCostMicros);
  if (call.goal !== undefined) headers[goalHeader] = call.goal;
  if (call.rights) headers[rightsHeader] = call.rights.join(",");
  if (call.path.length > 0) headers[pathHeader] = call.path.map(encodeURIComponent).join(",");
  if (call.idempotencyKey !== undefined) headers[idempotencyHeader] = encodeURIComponent(call.idempotencyKey);
  addTrace(headers, call);
  return headers;
}

/** The trace context of a call as headers; none when it has none. */
export function traceHeaders(call: Call): Record<string, string> {
  const headers: Record<string, string> = {};
  addTrace(headers, call);
  return headers;
}

function addTrace(headers: Record<string, string>, { trace }: Call): void {
  if (!trace) return;
  const { traceId, spanId, sampled, state } = trace;
  headers[traceHeader] = `00-${traceId}-${spanId}-${sampled ? "01" : "00"}`;
  if (state !== undefined) headers[traceStateHeader] = state;
}

/**
 * The call that headers state, on top of `base`. `unstated` are the rules for those who state none: default, those of
 * `base`.
 * Throws `deadline-past` when no time is left, `policy-denied` for rules that are not known here, `invalid-input` for
 * what is malformed. The tenant is never taken from headers.
 */
export function callFromHeaders(
  headers: Headers,
  base: Call,
  nowMs: number,
  unstated: Rules = base.rules,
): Call {
  const remaining = headers[deadlineHeader];
  let { deadlineMs, path } = base;
  let rules = unstated;
  if (remaining !== undefined) {
    if (!/^-?[0-9]{1,15}(\.[0-9]+)?$/.test(remaining)) {
      throw invalid(deadlineHeader, "the remaining time in milliseconds, such as 1500.5");
    }
    if (Number(remaining) <= 0) {
      throw new LongshoreError(
        "deadline-past",
        "admission",
        "the deadline had passed when the request arrived",
      );
    }
    deadlineMs = Math.min(deadlineMs, nowMs + Number(remaining));
  }
  const mostWait = headers[mostWaitHeader];
  if (mostWait !== undefined && !/^[0-9]{1,15}(\.[0-9]+)?$/.test(mostWait)) {
    throw invalid(mostWaitHeader, "a time in milliseconds");
  }
  const maxCost = headers[maxCostHeader];
  if (
    maxCost !== undefined &&
    !(/^[0-9]{1,18}(\.[0-9]{1,20})?(e-?[0-9]{1,3})?$/.test(maxCost) && Number(maxCost) < Infinity)
  ) {
    throw invalid(maxCostHeader, "a finite amount in micros, 0 or more");
  }
  if (headers[rulesHeader] !== undefined) rules = rulesFrom(headers[rulesHeader], unstated);
  const through = headers[pathHeader];
  if (through !== undefined) {
    const words = through.split(",");
    if (words.length > maxPath) throw invalid(pathHeader, `a path of at most ${maxPath} endpoints`);
    path = words.map((word) => decoded(word.trim(), pathHeader));
  }
  // Where the exchange has a span of its own already, that one is the parent of what follows.
  const trace = base.trace ?? traceFromHeaders(headers);
  const key = headers[idempotencyHeader];
  // Cut short, two keys could become one.
  if (key !== undefined && key.length > maxKeyLength) {
    throw invalid(idempotencyHeader, `a key of at most ${maxKeyLength} characters`);
  }
  const call = ownCall(base);
  call.deadlineMs = deadlineMs;
  call.rules = rules;
  call.path = path;
  if (trace) call.trace = trace;
  if (mostWait !== undefined) call.mostWaitMs = Number(mostWait);
  if (maxCost !== undefined) call.maxCostMicros = Math.min(base.maxCostMicros ?? Infinity, Number(maxCost));
  if (headers[goalHeader] !== undefined) call.goal = headers[goalHeader];
  if (key !== undefined) call.idempotencyKey = decoded(key, idempotencyHeader);
  return call;
}
