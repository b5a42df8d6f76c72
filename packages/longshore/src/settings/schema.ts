/**
 * The subset of JSON Schema that `longshore.yaml` uses. One object describes the file, checks it and is published for editors, so that the three
 * cannot differ.
 */
export type Schema =
  | BooleanSchema
  | TextSchema
  | NumberSchema
  | OffSchema
  | ListSchema
  | ObjectSchema
  | { readonly anyOf: readonly Schema[]; readonly description?: string };

interface BooleanSchema {
  readonly type: "boolean";
  readonly description?: string;
  readonly default?: unknown;
}

interface TextSchema {
  readonly type: "string";
  readonly description?: string;
  readonly default?: unknown;
  readonly enum?: readonly string[];
  readonly pattern?: string;
  readonly minLength?: number;
  /** A description of the pattern, for messages. */
  readonly title?: string;
  /** `path`: relative to the folder of the file. */
  readonly format?: "path" | "path-or-address";
}

interface NumberSchema {
  readonly type: "number" | "integer";
  readonly description?: string;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  /** Unit of the number, for messages. */
  readonly title?: string;
}

interface OffSchema {
  readonly const: false;
  readonly description?: string;
}

interface ListSchema {
  readonly type: "array";
  readonly description?: string;
  readonly default?: unknown;
  readonly items: Schema;
  readonly minItems?: number;
}

/** A mapping: with known keys, or with any key and values of one schema. */
export interface ObjectSchema {
  readonly type: "object";
  readonly description?: string;
  readonly properties?: Readonly<Record<string, Schema>>;
  readonly required?: readonly string[];
  /** False: only `properties`; a schema: of the values of all other keys. */
  readonly additionalProperties: false | Schema;
  /** Of keys that `properties` does not list. */
  readonly propertyNames?: { readonly pattern: string; readonly title: string };
}

/** A fault of a value, and its path. */
export interface Problem {
  readonly path: readonly (string | number)[];
  /** Continues a sentence that begins with the path. */
  readonly message: string;
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** A value as messages show it: short, on one line. */
export function shortForm(value: unknown): string {
  const isNumber = typeof value === "number";
  const text =
    typeof value === "string"
      ? `'${value}'`
      : isNumber
        ? String(value)
        : (JSON.stringify(value) ?? String(value));
  return text.length > 80 ? `${text.slice(0, 80)}...` : text;
}

function rangeOf({ minimum, maximum }: { readonly minimum?: number; readonly maximum?: number }): string {
  if (minimum !== undefined && maximum !== undefined) return ` from ${minimum} to ${maximum}`;
  return minimum === undefined ? "" : ` of ${minimum} or more`;
}

/** The expected value in words, for messages. */
function wanted(schema: Schema): string {
  if ("anyOf" in schema) return schema.anyOf.map(wanted).join(", or ");
  if ("const" in schema) return String(schema.const);
  switch (schema.type) {
    case "boolean":
      return "true or false";
    case "number":
    case "integer": {
      const kind = schema.type === "integer" ? "a whole number" : "a number";
      const unit = schema.title === undefined ? "" : `, in ${schema.title} and without a unit`;
      return `${kind}${rangeOf(schema)}${unit}`;
    }
    case "string":
      if (schema.enum) return `one of ${schema.enum.join(", ")}`;
      return schema.title ?? "a text";
    case "array":
      return (schema.minItems ?? 0) > 0 ? "a list with at least one entry" : "a list";
    case "object":
      return `a mapping${schema.properties ? ` with ${Object.keys(schema.properties).join(", ")}` : ""}`;
  }
}

function numberFits(schema: NumberSchema, value: unknown): boolean {
  if (typeof value !== "number" || !Number.isFinite(value)) return false;
  if (schema.type === "integer" && !Number.isSafeInteger(value)) return false;
  return value >= (schema.minimum ?? -Infinity) && value <= (schema.maximum ?? Infinity);
}

function objectProblem(schema: ObjectSchema, value: unknown, path: Problem["path"]): Problem | undefined {
  if (!isObject(value)) return { path, message: `is ${shortForm(value)}; it must be ${wanted(schema)}` };
  const { properties = {}, required = [], additionalProperties, propertyNames } = schema;
  for (const [key, inner] of Object.entries(value)) {
    const at = [...path, key];
    const known = Object.hasOwn(properties, key) ? properties[key] : undefined;
    if (!known && additionalProperties === false) {
      return { path: at, message: `is an unknown key; known here: ${Object.keys(properties).join(", ")}` };
    }
    if (!known && propertyNames && !new RegExp(propertyNames.pattern).test(key)) {
      return { path: at, message: `is not ${propertyNames.title}` };
    }
    const next = known ?? (additionalProperties === false ? undefined : additionalProperties);
    const found = next && problemOf(next, inner, at);
    if (found) return found;
  }
  const missing = required.find((key) => !Object.hasOwn(value, key));
  return missing === undefined ? undefined : { path: [...path, missing], message: "is missing" };
}

/** The first thing of a value that a schema does not allow. */
export function problemOf(schema: Schema, value: unknown, path: Problem["path"]): Problem | undefined {
  const wrong: Problem = { path, message: `is ${shortForm(value)}; it must be ${wanted(schema)}` };
  if ("anyOf" in schema) {
    const found = schema.anyOf.map((one) => problemOf(one, value, path));
    if (found.includes(undefined)) return undefined;
    // The alternative that the value comes nearest to says more than a list of all.
    return found.find((one) => (one?.path.length ?? 0) > path.length) ?? wrong;
  }
  if ("const" in schema) return value === schema.const ? undefined : wrong;
  switch (schema.type) {
    case "boolean":
      return typeof value === "boolean" ? undefined : wrong;
    case "number":
    case "integer":
      return numberFits(schema, value) ? undefined : wrong;
    case "string": {
      if (typeof value !== "string" || value.length < (schema.minLength ?? 0)) return wrong;
      if (schema.enum && !schema.enum.includes(value)) return wrong;
      return schema.pattern === undefined || new RegExp(schema.pattern).test(value) ? undefined : wrong;
    }
    case "array": {
      if (!Array.isArray(value) || value.length < (schema.minItems ?? 0)) return wrong;
      for (const [index, item] of value.entries()) {
        const found = problemOf(schema.items, item, [...path, index]);
        if (found) return found;
      }
      return undefined;
    }
    case "object":
      return objectProblem(schema, value, path);
  }
}

/** A path as people write it: `endpoints[0].address`. */
export function pathText(path: Problem["path"]): string {
  return path
    .map((step, at) => (typeof step === "number" ? `[${step}]` : at === 0 ? step : `.${step}`))
    .join("");
}
