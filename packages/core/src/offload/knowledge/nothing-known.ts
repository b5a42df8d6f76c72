import { type EndpointId, LongshoreError } from "../../words/base/index.ts";
import type { ModelDescription } from "../../words/model/index.ts";

/** What was asked about a model, and who said what. */
interface Questioned {
  readonly model: string;
  readonly version: string | undefined;
  readonly heard: ReadonlyMap<EndpointId, unknown>;
  /** Why endpoints did not say what they have. */
  readonly unsaid: ReadonlyMap<EndpointId, LongshoreError>;
}

/** Whether it was only time that an endpoint wanted. */
export function tooSlow(error: LongshoreError | undefined): boolean {
  return error?.reason === "no-answer" || error?.reason === "deadline-exceeded";
}

/**
 * The error where nothing is known of a model: because nobody has it, or because somebody did not say, or would not, or nobody
 * is there who could. `path` is where the question has been; `runsHere` whether this endpoint has models of its own.
 */
export function nothingKnown(
  { model, version, heard, unsaid }: Questioned,
  endpoints: { readonly all: ReadonlyMap<EndpointId, unknown> },
  path: readonly EndpointId[],
  runsHere: boolean,
): LongshoreError {
  const named = version === undefined ? model : `${model} version ${version}`;
  const ids = [...endpoints.all.keys()];
  // Endpoints that are about to join, or a directory that was not read yet, may have it: nobody has said no.
  if (!runsHere && ids.length === 0) {
    const why = `no server is known yet that could have ${named}`;
    return new LongshoreError("unreachable", "resolve", why);
  }
  // Those that ask are not asked back, and do not ask for what they have.
  const silent = ids.filter((id) => !heard.has(id) && !path.includes(id));
  for (const id of silent) {
    const error = unsaid.get(id);
    if (error?.reason !== "unauthenticated" && error?.reason !== "not-permitted") continue;
    const why = `${named} is not here, and ${id} does not say what it has: ${error.message}`;
    return new LongshoreError(error.reason, "resolve", why, { cause: error });
  }
  if (silent.length > 0) {
    const whose =
      silent.length === ids.length ? "no other endpoint answers" : "not every endpoint says what it has";
    const why = `${named} is not here, and ${whose} (no answer of ${silent.join(", ")})`;
    return new LongshoreError("unreachable", "resolve", why);
  }
  return new LongshoreError(
    "unknown-model",
    "resolve",
    `no endpoint knows ${named}: neither this one nor ${ids.join(", ") || "any other (none is configured)"}`,
  );
}

/** The error of `nothingKnown`, or that a version is not there where `learn` finds another one. */
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
