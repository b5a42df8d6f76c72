import {
  type Call,
  type Cut,
  type CutId,
  endCut,
  LongshoreError,
  startCut,
  type TensorSpec,
} from "@longshore/core";
import type { Artifact, ModelSignature, ModelSource } from "@longshore/engine";
import { type ModelProto, type NodeProto, readModel, tensorBytes, writeModel } from "../onnx/index.ts";
import { isWithin, type NodeSet } from "../partition/index.ts";
import { bodies, knownBytes, type Types } from "../shape/index.ts";
import { type CutTable, cutTable, defaultListLimit, type ListedSets, listSets, unusableCut } from "./cuts.ts";
import { extractSegment } from "./extract-segment.ts";
import { plainSha256 } from "./sha256.ts";
import { rowSharing } from "./shared-rows.ts";
import { carried, type SplitGraph, splitGraph } from "./split-graph.ts";

/** The options of `onnxSource`. */
export interface OnnxSourceOptions {
  /** Names extracted files. Default: SHA-256 in TypeScript, about 100 MB/s. */
  readonly sha256?: (bytes: Uint8Array) => Promise<string> | string;
  /** Bytes of model files that are kept read, the one in use not counted. Default 256 MiB. */
  readonly cacheBytes?: number;
  /** Most legal cuts that are listed for one graph; wider graphs list candidates. Default 4096. */
  readonly maxCuts?: number;
}

const defaultCacheBytes = 256 * 2 ** 20;

/** A source of ONNX files that also learns from runs. */
export interface OnnxSource extends ModelSource {
  /**
   * Adds types of inner tensors that no rule could infer (unknown operators), so that cuts there become usable. Ids of
   * cuts do not change.
   */
  learn(file: Artifact, types: Types, call: Call): Promise<void>;
  /** The whole view of a file, for profiling and for people. */
  open(file: Artifact, call: Call): Promise<OpenGraph>;
}

/** A model file, read and analysed. */
export interface OpenGraph {
  readonly split: SplitGraph;
  readonly table: CutTable;
  /** Digest of the file, when it came from one. */
  readonly digest?: string;
}

/** Reads and cuts ONNX files for the engine. Its analyses are kept for a while, by digest. */
export function onnxSource(options: OnnxSourceOptions = {}): OnnxSource {
  const hash = options.sha256 ?? plainSha256;
  const cache = new GraphCache(options.cacheBytes ?? defaultCacheBytes, options.maxCuts ?? defaultListLimit);
  const source: OnnxSource = {
    open: (file, call) => cache.open(file, call),
    async inspect(file, call) {
      const { split } = await cache.entry(file, call);
      return signatureOf(split);
    },
    async cuts(file, call) {
      return (await cache.open(file, call)).table.cuts;
    },
    async extract(file, from, to, call) {
      const opened = await cache.open(file, call);
      if (from === startCut && to === endCut && opened.split.leftOut.length === 0) return file;
      return extracted(opened, from, to, hash, () => cache.open(file, call));
    },
    async learn(file, types, call) {
      await cache.learn(file, types, call);
    },
  };
  return source;
}

async function extracted(
  opened: OpenGraph,
  from: CutId,
  to: CutId,
  hash: (bytes: Uint8Array) => Promise<string> | string,
  reopen: () => Promise<OpenGraph>,
): Promise<Artifact> {
  const encode = ({ split, table }: OpenGraph): Uint8Array => writeModel(segmentOf(split, table, from, to));
  const first = encode(opened);
  const digest = await hash(first);
  // The first reader gets what was just written; later ones a fresh copy, because readers own their bytes.
  let ready: Uint8Array | undefined = first;
  return {
    digest,
    byteLength: first.byteLength,
    async bytes() {
      const bytes = ready ?? encode(await reopen());
      ready = undefined;
      return bytes;
    },
  };
}

/** The model between two cuts by id. Throws `unknown-cut` when there is none. */
export function segmentOf(split: SplitGraph, table: CutTable, from: CutId, to: CutId): ModelProto {
  const [first, last] = [setOf(split, table, from), setOf(split, table, to)];
  if (from === endCut || to === startCut || (first && last && (first === last || !isWithin(first, last)))) {
    throw new LongshoreError("unknown-cut", "resolve", `nothing lies between the cuts ${from} and ${to}`);
  }
  return extractSegment(split, first, last);
}

function setOf(split: SplitGraph, table: CutTable, id: CutId): NodeSet | undefined {
  if (id === startCut || id === endCut) return undefined;
  const set = usable(table).has(id) ? table.sets[Number(id.slice(1)) - 1] : undefined;
  if (!set) throw unusableCut(split, table, id);
  return set;
}

const usableIds = new WeakMap<CutTable, ReadonlySet<string>>();

function usable(table: CutTable): ReadonlySet<string> {
  const known = usableIds.get(table) ?? new Set(table.cuts.map((cut: Cut) => cut.id));
  usableIds.set(table, known);
  return known;
}

/** Inputs, outputs and weights of a model. Shapes as the file declares them; a rank that it leaves open reads as []. */
export function signatureOf(split: SplitGraph): ModelSignature {
  const spec = (name: string): TensorSpec[] => {
    const type = split.types.get(name);
    const datatype = type && carried(type);
    return type?.kind === "tensor" && datatype ? [{ name, datatype, shape: type.shape ?? [] }] : [];
  };
  const openRanks = [...split.inputs, ...split.outputs].flatMap(({ name }) => {
    const type = split.types.get(name);
    return type?.kind === "tensor" && !type.shape ? [name] : [];
  });
  const sharing = rowSharing(split.model);
  return {
    inputs: split.inputs.flatMap((input) => spec(input.name)),
    outputs: split.outputs.flatMap((output) => spec(output.name)),
    ...(openRanks.length > 0 ? { openRanks } : {}),
    ...(sharing.length > 0 ? { rowSharing: sharing } : {}),
    weightBytes: weightBytes(split),
  };
}

/** Bytes of stored tensors, those in nodes and bodies included, and of the weights that `ConstantOfShape` makes. */
export function weightBytes(split: SplitGraph): number {
  const stored = split.graph.initializer.reduce((total, tensor) => total + tensorBytes(tensor), 0);
  const made = new Set(split.constants.values());
  return [...made].reduce(
    (total, node) => {
      if (node.opType !== "ConstantOfShape") return total;
      const type = split.types.get(node.output[0] ?? "");
      return total + ((type?.kind === "tensor" && knownBytes(type)) || 0);
    },
    stored + bytesInNodes(split.graph.node),
  );
}

function bytesInNodes(nodes: readonly NodeProto[]): number {
  let bytes = 0;
  for (const node of nodes) {
    for (const attribute of node.attribute) {
      if (attribute.t) bytes += tensorBytes(attribute.t);
      for (const tensor of attribute.tensors) bytes += tensorBytes(tensor);
    }
    for (const body of bodies(node)) {
      bytes += body.initializer.reduce((total, tensor) => total + tensorBytes(tensor), 0);
      bytes += bytesInNodes(body.node);
    }
  }
  return bytes;
}

interface Entry {
  readonly model: ModelProto;
  known: Types;
  split: SplitGraph;
  listed: ListedSets | undefined;
  table: CutTable | undefined;
}

/** Analysed files, the most recently used ones up to a number of bytes. */
class GraphCache {
  readonly #entries = new Map<string, Promise<Entry>>();
  readonly #sizes = new Map<string, number>();
  readonly #limit: number;
  readonly #maxCuts: number;

  constructor(limit: number, maxCuts: number) {
    this.#limit = limit;
    this.#maxCuts = maxCuts;
  }

  async open(file: Artifact, call: Call): Promise<OpenGraph> {
    const entry = await this.entry(file, call);
    entry.listed ??= listSets(entry.split, this.#maxCuts);
    entry.table ??= cutTable(entry.split, entry.listed);
    return { split: entry.split, table: entry.table, digest: file.digest };
  }

  async learn(file: Artifact, types: Types, call: Call): Promise<void> {
    const entry = await this.entry(file, call);
    entry.listed ??= listSets(entry.split, this.#maxCuts);
    entry.known = new Map([...entry.known, ...types]);
    entry.split = splitGraph(entry.model, entry.known);
    entry.table = undefined;
  }

  entry(file: Artifact, call: Call): Promise<Entry> {
    const known = this.#entries.get(file.digest);
    this.#entries.delete(file.digest);
    const entry = known ?? this.#read(file, call);
    this.#entries.set(file.digest, entry);
    return entry;
  }

  async #read(file: Artifact, call: Call): Promise<Entry> {
    try {
      const bytes = await file.bytes(call);
      const model = readModel(bytes);
      this.#sizes.set(file.digest, bytes.byteLength);
      this.#forgetOldest(file.digest);
      return { model, known: new Map(), split: splitGraph(model), listed: undefined, table: undefined };
    } catch (error) {
      // A failed reading is not remembered: the file may be there next time.
      this.#entries.delete(file.digest);
      this.#sizes.delete(file.digest);
      throw error;
    }
  }

  #forgetOldest(newest: string): void {
    let total = 0;
    for (const [digest, bytes] of this.#sizes) if (digest !== newest) total += bytes;
    for (const digest of this.#entries.keys()) {
      if (total <= this.#limit) return;
      const bytes = this.#sizes.get(digest);
      if (digest === newest || bytes === undefined) continue;
      this.#entries.delete(digest);
      this.#sizes.delete(digest);
      total -= bytes;
    }
  }
}
