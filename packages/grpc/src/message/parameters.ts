import { LongshoreError, type Parameters, type WireLimits } from "@longshore/core";
import { type Cursor, wireTypes } from "./cursor.ts";
import type { Writer } from "./writer.ts";

/** The most parameters of one message or tensor; as over HTTP. */
export const maxParameters = 256;

function whole(cursor: Cursor, sign: boolean): number | bigint {
  cursor.expect(wireTypes.varint);
  cursor.varint();
  const value = sign ? cursor.signed : cursor.unsigned;
  if (Number.isSafeInteger(value)) return value;
  const exact = (BigInt(cursor.high) << 32n) | BigInt(cursor.low);
  return sign ? BigInt.asIntN(64, exact) : exact;
}

const mostSigned = 2n ** 63n - 1n;

/**
 * One `InferParameter`; undefined when none of its choices is set.
 *
 * @param unsigned Clients that keep an id as an unsigned number send its 64 bits as `int64_param`.
 */
function readValue(
  cursor: Cursor,
  where: string,
  limits: WireLimits,
  unsigned: boolean,
): Parameters[string] | undefined {
  let value: Parameters[string] | undefined;
  while (cursor.field()) {
    switch (cursor.number) {
      case 1:
        value = whole(cursor, false) !== 0;
        break;
      case 2:
        value = whole(cursor, !unsigned);
        break;
      case 3:
        value = cursor.text(limits.maxNameLength, where);
        break;
      case 4: {
        const at = cursor.fixed(8);
        const view = new DataView(cursor.bytes.buffer, cursor.bytes.byteOffset + at, 8);
        value = view.getFloat64(0, true);
        if (!Number.isFinite(value)) {
          throw new LongshoreError("invalid-input", "decode", `${where} must be a finite number`);
        }
        break;
      }
      case 5:
        value = whole(cursor, false);
        break;
      default:
        cursor.skip();
    }
  }
  return value;
}

/** Parameters as they are collected from the entries of a map field. */
export type ParameterList = [string, Parameters[string]][];

/** Reads one entry of a `map<string, InferParameter>`. */
export function readParameter(cursor: Cursor, where: string, limits: WireLimits, into: ParameterList): void {
  if (into.length >= maxParameters) {
    throw new LongshoreError(
      "invalid-input",
      "decode",
      `${where} must be at most ${maxParameters} parameters`,
    );
  }
  let key = "";
  let inner: Cursor | undefined;
  while (cursor.field()) {
    if (cursor.number === 1) key = cursor.text(limits.maxNameLength, `a name in ${where}`);
    else if (cursor.number === 2) inner = cursor.inner();
    else cursor.skip();
  }
  const value = inner && readValue(inner, where, limits, key === "sequence_id");
  if (value === undefined) {
    throw new LongshoreError("invalid-input", "decode", `a parameter in ${where} has no value`);
  }
  into.push([key, value]);
}

/** Parameters of a list. `fromEntries` defines own properties, so that `__proto__` is a name like any other. */
export function parametersOf(list: ParameterList): Parameters {
  return Object.fromEntries(list);
}

/** Writes parameters as a `map<string, InferParameter>`. */
export function writeParameters(writer: Writer, number: number, parameters: Parameters): void {
  for (const key of Object.keys(parameters)) {
    const value = parameters[key];
    writer.nested(number, () => {
      writer.text(1, key);
      writer.nested(2, () => {
        if (typeof value === "boolean") {
          writer.tag(1, wireTypes.varint);
          writer.varint(value ? 1 : 0);
        } else if (typeof value === "string") {
          // Written even when empty: a choice that is not there would be no value.
          writer.tag(3, wireTypes.length);
          const bytes = new TextEncoder().encode(value);
          writer.varint(bytes.byteLength);
          writer.bytes(bytes);
        } else if (typeof value === "bigint" || Number.isSafeInteger(value)) {
          writer.tag(typeof value === "bigint" && value > mostSigned ? 5 : 2, wireTypes.varint);
          writer.signed(value ?? 0);
        } else {
          writer.tag(4, wireTypes.eightBytes);
          writer.double(value ?? 0);
        }
      });
    });
  }
}
