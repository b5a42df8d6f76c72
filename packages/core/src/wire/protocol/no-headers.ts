/**
 * Inherited by all headers, because a name may be that of anything. An object without any prototype would be a table, in
 * which each look-up for a header that is not there costs several times as much.
 */
const nothing: object = Object.freeze(Object.create(null) as object);

/** Headers by their names, none yet. */
export function noHeaders(): Record<string, string> {
  return Object.create(nothing) as Record<string, string>;
}
