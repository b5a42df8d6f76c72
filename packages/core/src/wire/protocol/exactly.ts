import { fields, type Fields, objectAt, type Reader, refuseField } from "./read-json.ts";

/** Text from elsewhere in a message: short, and nothing that a terminal would act on. */
export function printable(value: string): string {
  return value.slice(0, 60).replaceAll(/[^\x20-\x7e]/g, "?");
}

/** An object of exactly these fields: of what is signed, a field that a reader leaves out would not have been understood. */
export function exactly<S extends Readonly<Record<string, Reader<unknown>>>>(readers: S): Reader<Fields<S>> {
  const inner = fields(readers);
  return (value, where) => {
    const stray = Object.keys(objectAt(value, where)).find((key) => !Object.hasOwn(readers, key));
    if (stray !== undefined) refuseField(where, `without the unknown field '${printable(stray)}'`);
    return inner(value, where);
  };
}

/** Text that has a shape. */
export function shaped(shape: RegExp, most: number, wanted: string): Reader<string> {
  return (value, where) => {
    if (typeof value !== "string" || value.length > most || !shape.test(value)) refuseField(where, wanted);
    return value;
  };
}

/** `sha256:` and 64 hexadecimal digits in lower case. */
export const digestFrom: Reader<string> = shaped(
  /^sha256:[0-9a-f]{64}$/,
  71,
  "sha256: and 64 hexadecimal digits",
);
