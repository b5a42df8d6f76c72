/** Forgets what has been there for longest, until there are no more than `most`. Deleting a key before it is set makes it the newest. */
export function dropOldest<K>(known: Map<K, unknown>, most: number): void {
  if (known.size <= most) return;
  for (const oldest of known.keys()) {
    known.delete(oldest);
    if (known.size <= most) return;
  }
}
