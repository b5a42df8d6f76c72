import { LongshoreError } from "../../words/base/index.ts";
import type { Cut } from "../../words/model/index.ts";
import {
  cutFrom,
  digestFrom,
  exactly,
  parseJson,
  read,
  type Reader,
  tensorSpecFrom,
} from "../../wire/protocol/index.ts";
import type { TensorSpec } from "../../words/tensor/index.ts";

/** The part of a graph from its begin to a cut, as a file of its own. */
export interface PackageHead {
  /** As the graph calls it. */
  readonly cut: Cut;
  readonly digest: string;
  readonly bytes: number;
}

/** What a device needs to know of a model file that it does not have, to run a head of it. */
export interface PackageGraph {
  /** Inside the model's folder. */
  readonly path: string;
  /** Content as it is run: weights that lie beside it are taken inside. */
  readonly digest: string;
  readonly bytes: number;
  /** Files that its weights lie in. */
  readonly beside: readonly string[];
  /** Where servers give its heads away. */
  readonly version: string;
  readonly variant: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Names of those whose rank the file leaves open. Default none. */
  readonly openRanks?: readonly string[];
  readonly weightBytes: number;
  /** In the order of the cuts. */
  readonly heads: readonly PackageHead[];
}

/**
 * The graphs of a package and their heads, by content. It is a file of the package, so that whoever signed the package
 * vouches for each head: a device fetches the one it needs from any server, and believes its digest.
 */
export interface PackageHeads {
  readonly schemaVersion: 1;
  readonly graphs: readonly PackageGraph[];
}

/** The file lies in the model's folder under this name. */
export const headsName = "heads.json";

const name = read.text(512);
const bytes = read.whole(0, 2 ** 40);
const specs = read.list(tensorSpecFrom, 1024);

const headsFields = exactly({
  schemaVersion: read.word(1),
  graphs: read.list(
    exactly({
      path: name,
      digest: digestFrom,
      bytes,
      beside: read.list(name, 1024),
      version: name,
      variant: name,
      inputs: specs,
      outputs: specs,
      openRanks: read.optional(read.list(name, 2048)),
      weightBytes: bytes,
      heads: read.list(exactly({ cut: cutFrom, digest: digestFrom, bytes }), 4096),
    }),
    256,
  ),
});

/** Reads the file. Throws `invalid-input` for unknown fields. */
export const headsFrom: Reader<PackageHeads> = headsFields;

/** Reads the file of a package that was fetched. Throws `bad-reply`. */
export function readHeads(content: Uint8Array): PackageHeads {
  try {
    return headsFrom(parseJson(content, headsName), headsName);
  } catch (thrown) {
    const { message } = LongshoreError.from(thrown, "decode", `reading ${headsName}`);
    throw new LongshoreError("bad-reply", "decode", message, { cause: thrown });
  }
}
