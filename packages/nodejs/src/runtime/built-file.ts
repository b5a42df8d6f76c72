/**
 * A file of this package that threads and processes start. They need built JavaScript: where this module itself runs from
 * its source (tests do), the built counterpart of its neighbour is meant.
 */
export function builtFile(name: string, here: string = import.meta.url): URL {
  const neighbour = new URL(`./${name}`, here);
  if (here.endsWith(".ts")) neighbour.pathname = neighbour.pathname.replace("/src/", "/dist/");
  return neighbour;
}
