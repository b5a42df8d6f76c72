import { type EndpointId, LongshoreError } from "../../words/base/index.ts";
import type { ModelDescription } from "../../words/model/index.ts";
import type { Membership } from "../endpoints/index.ts";

/** The state of the polls about which endpoint has a model. */
interface PolledModel {
  readonly model: string;
  readonly version: string | undefined;
  /** Endpoints that answered. */
  readonly reports: ReadonlyMap<EndpointId, unknown>;
  /** Errors of endpoints that did not answer. */
  readonly failures: ReadonlyMap<EndpointId, LongshoreError>;
}

/** The most silent endpoints that a message names. */
const mostNamed = 5;

/** When to ask again for what an endpoint may have soon, in milliseconds. */
const againMs = 1000;

/** Whether an endpoint failed to answer only because time ran out. */
export function tooSlow(error: LongshoreError | undefined): boolean {
  return error?.reason === "no-answer" || error?.reason === "deadline-exceeded";
}

/**
 * The error if no endpoint is known to have a model. It tells apart: no endpoint has it, the directory has just started, an endpoint did not answer, an endpoint refused to
 * answer, and no endpoint is known. `path` lists the endpoints that the poll came through. `runsHere` says whether this endpoint has models
 * of its own.
 */
export function nothingKnown(
  { model, version, reports: heard, failures: unsaid }: PolledModel,
  endpoints: {
    readonly all: ReadonlyMap<EndpointId, unknown>;
    readonly membership: Pick<Membership, "mayGrow" | "settling">;
  },
  path: readonly EndpointId[],
  runsHere: boolean,
): LongshoreError {
  const named = version === undefined ? model : `${model} version ${version}`;
  const ids = [...endpoints.all.keys()];
  // An endpoint that has not joined yet, or a directory that was not read yet, may have the model.
  if (!runsHere && ids.length === 0) {
    const why = `no server is known yet that could have ${named}`;
    return endpoints.membership.mayGrow
      ? new LongshoreError("no-endpoint", "resolve", why, { retryAfterMs: againMs })
      : new LongshoreError("unreachable", "resolve", why);
  }
  // Endpoints on the path are not polled: they do not request models that they have.
  const silent = ids.filter((id) => !heard.has(id) && !path.includes(id));
  for (const id of silent) {
    const error = unsaid.get(id);
    if (error?.reason !== "unauthenticated" && error?.reason !== "not-permitted") continue;
    const why = `${named} is not here, and ${id} does not say what it has: ${error.message}`;
    return new LongshoreError(error.reason, "resolve", why, { cause: error });
  }
  // Time cures both: an endpoint that is starting, and one that joined and was not polled yet.
  if (silent.length > 0 && silent.every((id) => (unsaid.get(id)?.reason ?? "starting") === "starting")) {
    const state = silent.every((id) => unsaid.has(id)) ? "starting" : "not heard yet";
    const why = `${named} is not here yet: ${silent.join(", ")} ${silent.length === 1 ? "is" : "are"} ${state}`;
    return new LongshoreError("starting", "resolve", why, { retryAfterMs: againMs });
  }
  if (silent.length > 0) {
    const whose =
      silent.length === ids.length ? "no other endpoint answers" : "not every endpoint says what it has";
    const each = silent
      .slice(0, mostNamed)
      .map((id) => `${id}: ${unsaid.get(id)?.message ?? "no answer yet"}`);
    const more = silent.length > mostNamed ? `; and ${silent.length - mostNamed} more` : "";
    const why = `${named} is not here, and ${whose} (${each.join("; ")}${more})`;
    return new LongshoreError("unreachable", "resolve", why);
  }
  if (endpoints.membership.settling) {
    const why = `no server has ${named} yet; servers may be missing, since the directory has just started`;
    return new LongshoreError("starting", "resolve", why, { retryAfterMs: againMs });
  }
  return new LongshoreError(
    "unknown-model",
    "resolve",
    `no endpoint knows ${named}: neither this one nor ${ids.join(", ") || "any other (none is configured)"}`,
  );
}

/** The error of `nothingKnown`, or `unknown-version` if `learn` finds another version of the model. */
export async function orNoVersion(
  nothing: LongshoreError,
  version: string | undefined,
  learn: () => Promise<{ readonly description: ModelDescription }>,
): Promise<LongshoreError> {
  if (nothing.reason !== "unknown-model" || version === undefined) return nothing;
  const other = await learn().catch(() => undefined);
  if (!other) return nothing;
  const { name, version: known } = other.description;
  const why = `no endpoint knows ${name} version ${version}; version ${known} is known`;
  return new LongshoreError("unknown-version", "resolve", why);
}
