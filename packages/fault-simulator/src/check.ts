import { reasons } from "@longshore/core";
import { expectedSum } from "./models.ts";
import type { RequestEnd } from "./app.ts";
import { type Disturbance, unloadedModel, type WorldRun } from "./world.ts";
import { permitted, type ServerSpec } from "./world-spec.ts";

/** A promise that the system broke. */
export interface Violation {
  /** Which checker saw it. */
  readonly check:
    | "outcome"
    | "answer"
    | "sequence"
    | "rules"
    | "liveness"
    | "deadline"
    | "budget"
    | "memory"
    | "internal"
    | "replay";
  /** Number of the request; undefined where it concerns none. */
  readonly tag: number | undefined;
  readonly text: string;
}

/** Everything that is wrong with a run. */
export function checkRun(run: WorldRun): readonly Violation[] {
  return [
    ...oneOutcome(run),
    ...rightAnswers(run),
    ...resumed(run),
    ...withinRules(run),
    ...alive(run),
    ...inTime(run),
    ...withinBudget(run),
    ...nothingLeft(run),
    ...nothingInternal(run),
  ];
}

/** Every request has exactly one outcome, and every call that an offloader accepted ended exactly once. */
function oneOutcome({ spec, outcomes, events }: WorldRun): Violation[] {
  const found: Violation[] = [];
  const counts = new Map<number, number>();
  for (const { request } of outcomes) counts.set(request.tag, (counts.get(request.tag) ?? 0) + 1);
  for (const [tag, count] of counts) {
    if (count > 1) found.push({ check: "outcome", tag, text: `has ${count} outcomes` });
  }
  for (const { requests, sequences } of spec.apps) {
    for (const { tag } of requests) {
      if (!counts.has(tag)) found.push({ check: "outcome", tag, text: "has no outcome" });
    }
    for (const { steps } of sequences) {
      // Steps after one that failed are not sent.
      const broke = steps.findIndex(({ tag }) =>
        outcomes.some((one) => one.request.tag === tag && one.reason),
      );
      for (const { tag } of broke < 0 ? steps : steps.slice(0, broke)) {
        if (!counts.has(tag)) found.push({ check: "outcome", tag, text: "has no outcome" });
      }
    }
  }
  const accepted = new Map<string, number>();
  for (const { machine, event } of events) {
    if (event.kind !== "request-accepted" && event.kind !== "request-ended") continue;
    // A request that was refused before it was accepted has only its end as an event, and no call.
    if (!machine.startsWith("app") || event.callId === "") continue;
    const key = `${machine} ${event.callId}`;
    accepted.set(key, (accepted.get(key) ?? 0) + (event.kind === "request-accepted" ? 1 : -1));
  }
  for (const [key, open] of accepted) {
    if (open !== 0)
      found.push({
        check: "outcome",
        tag: undefined,
        text: `call ${key} was accepted ${open} times more than it ended`,
      });
  }
  return found;
}

/** Answers are the sums of the sent values; a step of a sequence counts once, and only earlier requests count before it. */
function rightAnswers({ spec, faults, outcomes }: WorldRun): Violation[] {
  const replaced = faults.some(({ kind }) => kind === "replace-model");
  return outcomes.flatMap(({ request, values, step }): Violation[] => {
    if (!values) return [];
    const input = [request.tag, ...request.values];
    const versions = request.model === "sum" ? [...spec.sumVersions, ...(replaced ? [2] : [])] : [1];
    const wanted = step ? [[step.number + 1, step.sum]] : versions.map((one) => [expectedSum(input, one)]);
    const same = (one: readonly number[]): boolean =>
      values.length === one.length && values.every((value, at) => value === one[at]);
    if (wanted.some(same)) return [];
    const text = `answered ${values.join(" ")} instead of ${wanted.map((one) => one.join(" ")).join(" or ")}`;
    return [{ check: step ? "sequence" : "answer", tag: request.tag, text }];
  });
}

/** A sequence goes on while the gateway on its way restarts, as long as nothing else is in trouble. */
function resumed({ spec, disturbances, outcomes }: WorldRun): Violation[] {
  const { gateway } = spec;
  if (!gateway || disturbances.some(({ machine }) => machine !== gateway.name)) return [];
  if (disturbances.some(({ kind }) => kind !== "kill" && kind !== "drain" && kind !== "freeze")) return [];
  return outcomes.flatMap(({ step, reason, request, message }): Violation[] =>
    step && (reason === "sequence-unknown" || reason === "sequence-step" || reason === "sequence-lost")
      ? [{ check: "sequence", tag: request.tag, text: `was lost: ${message}` }]
      : [],
  );
}

/** Nothing ran where its data class, zones or trust forbid it, on no leg. */
function withinRules({ spec, outcomes, runs }: WorldRun): Violation[] {
  const requests = new Map(
    spec.apps.flatMap(({ name, requests: own, sequences }) =>
      [...own, ...sequences.flatMap(({ steps }) => steps)].map(
        (one) => [one.tag, { app: name, request: one }] as const,
      ),
    ),
  );
  const servers = new Map(spec.servers.map((server) => [server.name, server]));
  const found: Violation[] = [];
  for (const { machine, tag, model } of runs) {
    const known = requests.get(tag);
    if (!known) {
      found.push({ check: "rules", tag, text: `${machine} ran ${model} without a request` });
      continue;
    }
    const server = servers.get(machine);
    const allowed = server ? permitted(known.request, server) : machine === known.app;
    if (!allowed) {
      const { dataClass, zones = [], leastTrust } = known.request;
      const text = `${machine} (${server?.zone}, ${server?.trust}) ran ${model} for class ${dataClass}, zones ${zones.join(",")}, trust ${leastTrust}`;
      found.push({ check: "rules", tag, text });
    }
  }
  for (const { request, where, values } of outcomes) {
    if (values && !runs.some(({ tag }) => tag === request.tag))
      found.push({ check: "rules", tag: request.tag, text: `was answered by ${where} without a run` });
  }
  return found;
}

/** Shorter halves of a deadline prove nothing, in milliseconds: a plan, a link and a cold model take as long. */
const leastHalfMs = 700;
/** The time that a server needs after its last trouble until it can answer, in milliseconds: starting and loading. */
const settleMs = 300;
/** How long after a model is back others may still report it as missing, in milliseconds: one round of polling. */
const unloadedMs = 5000;
/**
 * The same of servers that are found in a directory, where the directory server or the server was in trouble: until it joined again and
 * readers received it. A lease, the longest pause between two tries, and a reader's turn.
 */
const joinMs = 24_000;

/** No request fails where a server that could have answered was whole for the last half of its deadline. */
function alive(run: WorldRun): Violation[] {
  return run.outcomes.flatMap((outcome): Violation[] => {
    const { reason, request, askedMs, app } = outcome;
    if (reason === undefined) return [];
    const halfMs = request.deadlineMs / 2;
    if (halfMs < leastHalfMs || outcome.step) return [];
    const [fromMs, untilMs] = [askedMs + halfMs, askedMs + request.deadlineMs];
    const unknown = reason === "unknown-model" || reason === "unknown-version";
    // No endpoint knows an alias that the operator has not set yet.
    if (unknown && request.alias !== undefined && run.aliasSetMs > outcome.doneMs - settleMs) return [];
    // Where rules leave only the server that lacks the model, they are the reason that is told. A gateway tells of servers that have it only.
    const lacks = ({ name }: ServerSpec): boolean =>
      unknown ||
      reason === "policy-denied" ||
      outcome.message.includes(`${name}: it does not have this model`);
    const whole = run.spec.servers.find(
      (server) =>
        couldAnswer(run, outcome, server, fromMs, untilMs) &&
        !(lacks(server) && wasUnloaded(run, outcome, server)),
    );
    const own = run.spec.apps.find(({ name }) => name === app);
    const here = request.alias === undefined && own?.models.includes(request.model);
    if (!whole && !here) return [];
    const text = `failed with ${reason} (${outcome.message}) ${Math.round(outcome.doneMs - askedMs)} ms after it was asked, though ${whole?.name ?? "its own device"} was whole from ${Math.round(fromMs)} to ${Math.round(untilMs)} ms`;
    return [{ check: "liveness", tag: request.tag, text }];
  });
}

/** Whether an operator had unloaded the model of a request at a server meanwhile: that it comes back, no endpoint can know. */
function wasUnloaded(
  { disturbances }: WorldRun,
  { request, askedMs, doneMs }: RequestEnd,
  { name }: ServerSpec,
): boolean {
  return (
    request.model === unloadedModel &&
    disturbances.some(
      ({ kind, machine, fromMs, untilMs }) =>
        kind === "unload" && machine === name && fromMs <= doneMs && untilMs + unloadedMs >= askedMs,
    )
  );
}

function couldAnswer(
  run: WorldRun,
  { request, app }: RequestEnd,
  server: ServerSpec,
  fromMs: number,
  untilMs: number,
): boolean {
  const { spec } = run;
  if (!server.models.includes(request.model) || !permitted(request, server)) return false;
  const reach = spec.apps.find(({ name }) => name === app)?.reach;
  const { gateway } = spec;
  const joined = gateway?.joined === true && reach !== "servers";
  if (reach === "gateway" && gateway) {
    if (!permitted(request, { zone: gateway.zone, trust: "vouched" })) return false;
    if (!isWhole(run, gateway.name, fromMs - settleMs, untilMs)) return false;
  }
  if (spec.packages !== undefined && !isWhole(run, spec.packages, 0, untilMs)) return false;
  if (joined && gateway && !isWhole(run, gateway.name, fromMs - joinMs, untilMs)) return false;
  return isWhole(run, server.name, fromMs - (joined ? joinMs : settleMs), untilMs);
}

function isWhole({ disturbances }: WorldRun, machine: string, fromMs: number, untilMs: number): boolean {
  const meets = (one: Disturbance): boolean => one.fromMs < untilMs && one.untilMs > fromMs;
  return !disturbances.some((one) => one.machine === machine && meets(one));
}

/** How late an outcome may be, in milliseconds. */
const slackMs = 1;

/** Every outcome comes within its deadline. */
function inTime({ outcomes }: WorldRun): Violation[] {
  return outcomes
    .filter(({ request, askedMs, doneMs }) => doneMs > askedMs + request.deadlineMs + slackMs)
    .map(({ request, askedMs, doneMs }) => ({
      check: "deadline" as const,
      tag: request.tag,
      text: `ended ${doneMs - askedMs} ms after it was asked; its deadline was ${request.deadlineMs} ms`,
    }));
}

/** Second runs that each endpoint may have beyond the share: a burst and a debt. */
const burst = 15;
/** The share of all requests that may have a second run. */
const hedgeRatio = 0.14;

/** Second runs stay within the budget of the endpoint that plans. */
function withinBudget({ events, spec }: WorldRun): Violation[] {
  const planners = [...spec.apps.map(({ name }) => name), ...(spec.gateway ? [spec.gateway.name] : [])];
  return planners.flatMap((planner): Violation[] => {
    const own = events.filter(({ machine }) => machine === planner);
    // A leg that begins after a request was taken to be lost is a retry.
    const late = own.filter(
      ({ event }) => event.kind === "leg-late" && event.because === "late" && event.begun,
    ).length;
    const begun = own.filter(({ event }) => event.kind === "leg-started" && event.trigger === "begin").length;
    const most = burst * spec.servers.length + hedgeRatio * begun;
    if (late <= most) return [];
    return [
      { check: "budget", tag: undefined, text: `${planner} began ${late} second runs for ${begun} requests` },
    ];
  });
}

/** After a long rest nothing is held, and after closing no timer is left. */
function nothingLeft({ leftOver }: WorldRun): Violation[] {
  return leftOver.map((text) => ({ check: "memory" as const, tag: undefined, text }));
}

/** No request fails for an unforeseen reason. */
function nothingInternal({ events, outcomes }: WorldRun): Violation[] {
  const ofEvents = events.flatMap(({ machine, event }): Violation[] =>
    event.kind === "failure" && event.reason === "internal"
      ? [{ check: "internal", tag: undefined, text: `${machine}: ${event.message}` }]
      : [],
  );
  const ofOutcomes = outcomes.flatMap(({ request, reason, message }): Violation[] =>
    reason === "internal" || (reason !== undefined && !Object.hasOwn(reasons, reason))
      ? [{ check: "internal", tag: request.tag, text: message }]
      : [],
  );
  return [...ofEvents, ...ofOutcomes];
}
