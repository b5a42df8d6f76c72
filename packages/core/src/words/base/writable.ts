/** The same fields while it is made: put in one by one, those that are absent leave no property behind. */
export type Writable<T> = { -readonly [Field in keyof T]: T[Field] };
