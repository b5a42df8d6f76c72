import { LongshoreError } from "@longshore/core";
import { locatedYaml } from "@longshore/nodejs";
import { requestDurationBounds } from "@longshore/server";
import { type ObjectSchema, pathText, problemOf, shortForm } from "../settings/schema.ts";

/** One promise about the answers of a model: the share of good ones over a period. */
export interface ServiceObjective {
  readonly name: string;
  /** Default: all models together. */
  readonly model?: string;
  /** A good answer comes within this time, in milliseconds. Default: any answer is good. */
  readonly withinMs?: number;
  /** Share of good answers, 0..1, exclusive. */
  readonly targetRatio: number;
  /** Days over which the share is taken. */
  readonly windowDays: number;
}

/** A service-level file. */
export interface ServiceLevels {
  /** Labels that select the servers whose answers count. */
  readonly match: Readonly<Record<string, string>>;
  readonly objectives: readonly ServiceObjective[];
}

const defaultWindowDays = 30;

const schema: ObjectSchema = {
  type: "object",
  additionalProperties: false,
  required: ["objectives"],
  properties: {
    match: {
      type: "object",
      propertyNames: { pattern: "^[a-zA-Z_][a-zA-Z0-9_]{0,63}$", title: "the name of a label" },
      additionalProperties: { type: "string", minLength: 1 },
    },
    objectives: {
      type: "array",
      minItems: 1,
      items: {
        type: "object",
        additionalProperties: false,
        required: ["name", "targetRatio"],
        properties: {
          name: {
            type: "string",
            pattern: "^[a-z0-9][a-z0-9-]{0,62}$",
            title: "lower-case letters, digits and -",
          },
          model: { type: "string", minLength: 1 },
          withinMs: { type: "number", minimum: 0.001, title: "ms" },
          targetRatio: { type: "number", minimum: 0.5, maximum: 0.99999 },
          windowDays: { type: "integer", minimum: 7, maximum: 90, title: "days" },
        },
      },
    },
  },
};

/** Bounds of the histogram of request durations, in milliseconds. */
const boundsMs: readonly number[] = requestDurationBounds.map((seconds) =>
  Number((seconds * 1000).toPrecision(6)),
);

/** Throws for a time that no bucket ends at: the share could not be counted. */
function checkBound({ name, withinMs }: ServiceObjective, where: string): void {
  if (withinMs === undefined || boundsMs.includes(withinMs)) return;
  const [below, above] = [boundsMs.findLast((one) => one < withinMs), boundsMs.find((one) => one > withinMs)];
  const near = [below, above].filter((one) => one !== undefined).join(" or ");
  throw new LongshoreError(
    "invalid-configuration",
    "resolve",
    `${where}: ${name} counts answers within ${withinMs} ms, and the histogram of requests has no bucket that ends there; say ${near}`,
  );
}

/** Whether every answer that is good by `a` is good by `b`, for the same answers. */
function implies(a: ServiceObjective, b: ServiceObjective): boolean {
  return (
    a.model === b.model &&
    a.windowDays === b.windowDays &&
    (a.withinMs ?? Infinity) <= (b.withinMs ?? Infinity)
  );
}

/**
 * Reads a service-level file. Throws `invalid-configuration` with file and line for what is wrong, for times that cannot be counted, and for
 * objectives that contradict each other.
 */
export function parseServiceLevels(text: string, file: string): ServiceLevels {
  const read = locatedYaml(text, file);
  const problem = problemOf(schema, read.value ?? null, []);
  if (problem) {
    const { path, message } = problem;
    const what = path.length === 0 ? "the file" : pathText(path);
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `${file}:${read.lineOf(path)}: ${what} ${message}`,
    );
  }
  // The schema has checked it.
  const given = read.value as {
    readonly match?: Readonly<Record<string, string>>;
    readonly objectives: readonly (Omit<ServiceObjective, "windowDays"> & { readonly windowDays?: number })[];
  };
  const objectives = given.objectives.map((one) => ({ windowDays: defaultWindowDays, ...one }));
  for (const [at, one] of objectives.entries()) {
    const where = `${file}:${read.lineOf(["objectives", at])}`;
    checkBound(one, where);
    for (const other of objectives.slice(0, at)) {
      if (other.name === one.name) {
        throw new LongshoreError(
          "invalid-configuration",
          "resolve",
          `${where}: two objectives have the name ${shortForm(one.name)}`,
        );
      }
      const [strict, weak] = implies(other, one) ? [other, one] : [one, other];
      if (!implies(strict, weak) || weak.targetRatio > strict.targetRatio) continue;
      throw new LongshoreError(
        "invalid-configuration",
        "resolve",
        `${where}: ${strict.name} and ${weak.name} contradict each other: each answer that is good by ${strict.name} is good by ${weak.name}, so a target of ${weak.targetRatio} says nothing beside ${strict.targetRatio}`,
      );
    }
  }
  return { match: given.match ?? {}, objectives };
}
