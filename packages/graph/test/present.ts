/** The value, which a test knows to be there. */
export function present<T>(value: T | null | undefined): T {
  if (value === undefined || value === null) throw new Error("the test expected a value here");
  return value;
}
