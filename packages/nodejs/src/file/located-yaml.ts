import { LongshoreError } from "@longshore/core";
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from "yaml";

/** A YAML document with the line of each of its values. */
export interface LocatedYaml {
  /** Plain data; undefined for an empty document. */
  readonly value: unknown;
  /** The line, from 1, of the value at a path of keys and indexes, or of the nearest value above it. */
  lineOf(path: readonly (string | number)[]): number;
}

/** The largest text that is read, in characters. */
const maxLength = 4_000_000;

function bad(message: string, cause?: unknown): LongshoreError {
  return new LongshoreError(
    "invalid-configuration",
    "resolve",
    message,
    cause === undefined ? {} : { cause },
  );
}

/** The range of a key, if the parent is a mapping, else of the value itself. */
function offsetAt(root: Node | null, path: readonly (string | number)[]): number {
  let node: unknown = root;
  let offset = root?.range?.[0] ?? 0;
  for (const step of path) {
    if (isMap(node)) {
      const pair = node.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
      if (!pair) return offset;
      if (isScalar(pair.key)) offset = pair.key.range?.[0] ?? offset;
      node = pair.value;
    } else if (isSeq(node)) {
      node = node.items[Number(step)];
      offset = (node as Node | undefined)?.range?.[0] ?? offset;
    } else return offset;
  }
  return offset;
}

/**
 * Reads one YAML document (JSON is YAML, too) without aliases. Throws `invalid-configuration`, which names `what` and the line.
 *
 * @param what The file, as messages name it.
 *
 * @example
 * ```ts
 * import { locatedYaml } from "@longshore/nodejs";
 *
 * const read = locatedYaml("listeners:\n  port: 9000\n", "longshore.yaml");
 * console.log(read.lineOf(["listeners", "port"])); // 2
 * ```
 */
export function locatedYaml(text: string, what: string): LocatedYaml {
  if (text.length > maxLength) throw bad(`${what} has more than ${maxLength} characters`);
  const lines = new LineCounter();
  const document = parseDocument(text, {
    version: "1.2",
    schema: "core",
    uniqueKeys: true,
    merge: false,
    lineCounter: lines,
  });
  const [error] = document.errors;
  if (error) {
    const line = lines.linePos(error.pos[0]).line;
    if (error.code === "MULTIPLE_DOCS")
      throw bad(`${what}:${line}: a second YAML document begins here; the file may have one`);
    throw bad(`${what}:${line}: not valid YAML: ${error.message.split("\n")[0] ?? ""}`);
  }
  let value: unknown;
  try {
    value = document.toJS({ maxAliasCount: 0 });
  } catch (thrown) {
    throw bad(`${what}: aliases are not allowed`, thrown);
  }
  return {
    value: value ?? undefined,
    lineOf: (path) => lines.linePos(offsetAt(document.contents, path)).line,
  };
}
