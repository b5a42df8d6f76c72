/** The same fields while the object is made: set one by one, so that absent ones leave no property. */
export type Writable<T> = { -readonly [Field in keyof T]: T[Field] };
