/**
 * A value that no type checked, as a program in plain JavaScript passes it: for tests of how a public function refuses wrong
 * input. It fits every type. Never a part of an object in place of a whole one.
 */
export function untyped(value: unknown): never {
  // Deliberately unfounded: the function under test finds that the value is of another type.
  return value as never;
}
