import type { Call, Cut, CutId, Digest, TensorSpec } from "@longshore/core";
import type { Artifact } from "../runtime/index.ts";

/** Inputs and outputs of a model file, as it declares them. */
export interface ModelSignature {
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  /** Names of those whose rank the file leaves open; their shapes read as []. Default none. */
  readonly openRanks?: readonly string[];
  /** Operators that make the rows of a batch depend on each other, as dynamic quantisation does. Default none. */
  readonly rowSharing?: readonly string[];
  /** Bytes of weights: the base of memory estimates. */
  readonly weightBytes: number;
}

/**
 * Reads and cuts model files for the engine. `graph` implements it, so engine knows no ONNX. A **graph** here is one
 * model file, known by the digest of its bytes.
 */
export interface ModelSource {
  /** Throws `invalid-model` for what is not a complete ONNX file. */
  inspect(file: Artifact, call: Call): Promise<ModelSignature>;
  /** The legal cuts inside it, in topological order, without `start` and `end`. Ids are `c<n>`. */
  cuts(file: Artifact, call: Call): Promise<readonly Cut[]>;
  /** The part between two cuts as a complete ONNX file; `unknown-cut` when there is none. */
  extract(file: Artifact, from: CutId, to: CutId, call: Call): Promise<Artifact>;
  /**
   * Bytes that have to be fetched before the part between two cuts can be loaded; 0 where it is here. At once. Absent where all
   * files are here.
   */
  lacks?(file: Artifact, from: CutId, to: CutId): number;
}

/** An entry in a folder of a store. */
export interface StoredEntry {
  readonly name: string;
  readonly directory: boolean;
  readonly bytes: number;
  /** When a file was last written, where the store knows: tells a new content of the same size. */
  readonly modifiedMs?: number;
  /** Why it cannot be read, as the end of a sentence about it. Absent: it can. */
  readonly problem?: string;
  /** The digest of a file's content, if the store knows it from a trusted source: the file need not be read for it. */
  readonly digest?: string;
}

/** Model files by path inside a repository, and by digest for what has been distributed. */
export interface ModelStore {
  /** Names of models, versions (digits) and files; undefined where nothing is. */
  list(path: string): Promise<readonly StoredEntry[] | undefined>;
  /** The whole file; undefined when missing. Never follows a path out of the repository. */
  read(path: string): Promise<Uint8Array | undefined>;
  /** The file from some byte on, without holding all of it; absent where a store can only read whole files. */
  open?(
    path: string,
    fromByte: number,
  ): Promise<{ readonly bytes: number; read(): AsyncIterable<Uint8Array> } | undefined>;
}

export type { Digest };
