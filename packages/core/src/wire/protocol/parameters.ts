import type { Parameters } from "../../words/json/index.ts";
import { objectAt, own, refuseField } from "./read-json.ts";
import type { WireLimits } from "./limits.ts";

/** No parameters. */
export const noParameters: Parameters = {};

/** Parameters as they arrive: text, finite numbers and booleans, at most 256 of them. */
export function readParameters(
  value: unknown,
  where: string,
  limits: WireLimits,
  mostText: number = limits.maxNameLength,
): Parameters {
  // Some servers send null for nothing.
  if (value === undefined || value === null) return noParameters;
  const object = objectAt(value, where);
  const keys = Object.keys(object);
  if (keys.length > 256) refuseField(where, "an object of at most 256 parameters");
  for (const key of keys) {
    const item = (object as Readonly<Record<string, unknown>>)[key];
    const fits =
      typeof item === "boolean" ||
      typeof item === "bigint" ||
      (typeof item === "number" && Number.isFinite(item)) ||
      (typeof item === "string" && item.length <= mostText);
    if (!fits || key.length > limits.maxNameLength) {
      refuseField(`${where}.${key.slice(0, 64)}`, `short text, a finite number, true or false`);
    }
  }
  // The parser defines own properties, so a parameter called `__proto__` is one like any other.
  return object as Parameters;
}

/** A parameter that must be a boolean when it is there. */
export function flagParameter(parameters: Parameters, key: string, where: string): boolean | undefined {
  const value = own(parameters, key);
  if (value !== undefined && typeof value !== "boolean") refuseField(`${where}.${key}`, "true or false");
  return value;
}

/** A parameter that must be a whole number of 0 or more when it is there. */
export function wholeParameter(parameters: Parameters, key: string, where: string): number | undefined {
  const value = own(parameters, key);
  if (value === undefined) return undefined;
  if (!Number.isSafeInteger(value) || (value as number) < 0) {
    refuseField(`${where}.${key}`, "a whole number of 0 or more");
  }
  return value as number;
}

/** The parameters without some keys. */
export function withoutParameters(parameters: Parameters, ...keys: readonly string[]): Parameters {
  const entries = Object.entries(parameters);
  const rest = entries.filter(([key]) => !keys.includes(key));
  if (rest.length === 0) return noParameters;
  return rest.length === entries.length ? parameters : Object.fromEntries(rest);
}
