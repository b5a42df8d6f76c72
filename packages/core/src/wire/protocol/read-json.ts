import { type Json, LongshoreError } from "../../words/base/index.ts";

/**
 * Small readers for JSON that came from elsewhere. They are composed like a schema but stay a few hundred bytes, because the
 * remote-only browser client carries them. Fields that a reader does not know are left out of what it returns, so newer senders
 * are understood; every field that it does know is checked. Properties are read with `Object.hasOwn`, so `__proto__` and
 * `constructor` are names like any other.
 */
export type Reader<T> = (value: unknown, where: string) => T;

/** Throws the error for a value of the wrong kind. Says what was wanted, never what was there. */
export function refuseField(where: string, wanted: string): never {
  throw new LongshoreError("invalid-input", "decode", `${where} must be ${wanted}`);
}

/** An own property of an untrusted object. */
export function own(object: object, key: string): unknown {
  return Object.hasOwn(object, key) ? (object as Record<string, unknown>)[key] : undefined;
}

/** An object that is neither null nor an array. */
export function objectAt(value: unknown, where: string): object {
  if (typeof value !== "object" || value === null || Array.isArray(value)) refuseField(where, "an object");
  return value;
}

/** An array of at most `most` entries. */
export function arrayAt(value: unknown, where: string, most: number): readonly unknown[] {
  if (!Array.isArray(value)) refuseField(where, "an array");
  if (value.length > most) refuseField(where, `an array of at most ${most} entries`);
  return value;
}

/** Text of at most `most` characters. */
export function readText(most = 4096): Reader<string> {
  return (value, where) => {
    if (typeof value !== "string" || value.length > most)
      refuseField(where, `text of at most ${most} characters`);
    return value;
  };
}

/** A finite number in a range. */
export function readNumber(
  least: number = -Number.MAX_VALUE,
  most: number = Number.MAX_VALUE,
): Reader<number> {
  const from = least === -Number.MAX_VALUE ? "a finite number" : `a finite number of ${least} or more`;
  const range = most === Number.MAX_VALUE ? from : `a number from ${least} to ${most}`;
  return (value, where) => {
    if (typeof value !== "number" || !(value >= least && value <= most)) {
      refuseField(where, range);
    }
    return value;
  };
}

/** A whole number in a range, at most 2^53 - 1. */
export function readWhole(least = 0, most: number = Number.MAX_SAFE_INTEGER): Reader<number> {
  return (value, where) => {
    if (!Number.isSafeInteger(value) || (value as number) < least || (value as number) > most) {
      refuseField(where, `a whole number from ${least} to ${most}`);
    }
    return value as number;
  };
}

/** `true` or `false`. */
export const readFlag: Reader<boolean> = (value, where) => {
  if (typeof value !== "boolean") refuseField(where, "true or false");
  return value;
};

/** One of some words. */
export function readWord<const T extends string | number>(...words: readonly T[]): Reader<T> {
  return (value, where) => {
    if (!(words as readonly unknown[]).includes(value)) refuseField(where, `one of ${words.join(", ")}`);
    return value as T;
  };
}

/** An array of one kind of entry. */
export function list<T>(entry: Reader<T>, most = 4096): Reader<readonly T[]> {
  return (value, where) =>
    arrayAt(value, where, most).map((item, index) => entry(item, `${where}[${index}]`));
}

/** An object with any keys and one kind of value. */
export function dictionary<T>(entry: Reader<T>, most = 4096): Reader<Readonly<Record<string, T>>> {
  return (value, where) => {
    const entries = Object.entries(objectAt(value, where));
    if (entries.length > most) refuseField(where, `an object of at most ${most} fields`);
    return Object.fromEntries(entries.map(([key, item]) => [key, entry(item, `${where}.${key}`)]));
  };
}

/** A field that may be absent. */
export function optional<T>(reader: Reader<T>): Reader<T | undefined> {
  return (value, where) => (value === undefined ? undefined : reader(value, where));
}

type OptionalKeys<S> = {
  [K in keyof S]: S[K] extends Reader<infer T> ? (undefined extends T ? K : never) : never;
}[keyof S];
type Value<R> = R extends Reader<infer T> ? T : never;
/** The result of an object of readers: fields that may be absent are optional. */
export type Fields<S> = { readonly [K in Exclude<keyof S, OptionalKeys<S>>]: Value<S[K]> } & {
  readonly [K in OptionalKeys<S>]?: Exclude<Value<S[K]>, undefined>;
};

/** An object with the given fields; others are ignored. */
export function fields<S extends Readonly<Record<string, Reader<unknown>>>>(readers: S): Reader<Fields<S>> {
  return (value, where) => {
    const object = objectAt(value, where);
    const read: Record<string, unknown> = {};
    for (const [key, reader] of Object.entries(readers)) {
      const item = reader(own(object, key), `${where}.${key}`);
      if (item !== undefined) read[key] = item;
    }
    // Each field was checked by the reader that gives it its type.
    return read as Fields<S>;
  };
}

/** Any JSON, nested at most `depth` deep. */
export function anyJson(depth = 32): Reader<Json> {
  return (value, where) => {
    if (depth === 0) refuseField(where, "less deeply nested");
    if (value === null || typeof value === "string" || typeof value === "boolean") return value;
    if (typeof value === "number") return readNumber()(value, where);
    if (Array.isArray(value)) return list(anyJson(depth - 1), 65_536)(value, where);
    return dictionary(anyJson(depth - 1))(value, where);
  };
}
