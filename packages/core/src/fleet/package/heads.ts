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

/** The part of a graph from its start to a cut, as a separate file. */
export interface PackageHead {
  /** Its name in the graph. */
  readonly cut: Cut;
  readonly digest: string;
  readonly bytes: number;
}

/** Facts about a model file that let a device run a head of it without having the file. */
export interface PackageGraph {
  /** Inside the model's folder. */
  readonly path: string;
  /** Digest of the content that runs: weights from files beside it are included. */
  readonly digest: string;
  readonly bytes: number;
  /** Files that contain its weights. */
  readonly beside: readonly string[];
  /** The version under which servers offer its heads. */
  readonly version: string;
  readonly variant: string;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Names of tensors whose rank the file leaves open. Default none. */
  readonly openRanks?: readonly string[];
  readonly weightBytes: number;
  /** In the order of the cuts. */
  readonly heads: readonly PackageHead[];
}

/**
 * The graphs of a package and their heads, by content. It is a file of the package, so the package's signature covers each head: a device
 * fetches the one it needs from any server, and checks its digest.
 */
export interface PackageHeads {
  readonly schemaVersion: 1;
  readonly graphs: readonly PackageGraph[];
}

/** Name of the file in the model's folder. */
export const headsName = "heads.json";

const name = read.readText(512);
const bytes = read.readWhole(0, 2 ** 40);
const specs = read.list(tensorSpecFrom, 1024);

const headsFields = exactly({
  schemaVersion: read.readWord(1),
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

/** Parses the file. Throws `invalid-input` for unknown fields. */
export const headsFrom: Reader<PackageHeads> = headsFields;

/** Parses the file of a fetched package. Throws `bad-reply`. */
export function readHeads(content: Uint8Array): PackageHeads {
  try {
    return headsFrom(parseJson(content, headsName), headsName);
  } catch (thrown) {
    const { message } = LongshoreError.from(thrown, "decode", `reading ${headsName}`);
    throw new LongshoreError("bad-reply", "decode", message, { cause: thrown });
  }
}
