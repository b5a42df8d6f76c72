import { type Call, LongshoreError } from "../base/index.ts";
import type { Tensor, Tensors } from "../tensor/index.ts";
import type { Codec, CodecId, Encoded } from "./codec.ts";

/** The codecs that an endpoint can encode and decode, by id. */
export type CodecSet = ReadonlyMap<CodecId, Codec>;

/** Codecs by id. Throws `invalid-configuration` when two have the same id. */
export function codecSet(...codecs: readonly Codec[]): CodecSet {
  const set = new Map<CodecId, Codec>();
  for (const codec of codecs) {
    if (set.has(codec.id)) {
      throw new LongshoreError(
        "invalid-configuration",
        "resolve",
        `two codecs are called ${codec.id}; ids must differ`,
      );
    }
    set.set(codec.id, codec);
  }
  return set;
}

function codecOf(codecs: CodecSet, id: CodecId, stage: "encode" | "decode"): Codec {
  const codec = codecs.get(id);
  if (codec) return codec;
  throw new LongshoreError(
    "unsupported",
    stage,
    `codec ${id} is not known here; known are ${[...codecs.keys()].join(", ")}`,
  );
}

/**
 * Encodes the tensors of a crossing, each by the codec that `choice` names for it, raw otherwise. Throws `unsupported` for a
 * codec that is not in the set or does not accept its tensor. The tensors stay the caller's; raw ones share their memory.
 */
export async function encodeCrossing(
  tensors: Tensors,
  choice: Readonly<Record<string, CodecId>>,
  codecs: CodecSet,
  call: Call,
): Promise<ReadonlyMap<string, Encoded>> {
  const one = async ([name, tensor]: [string, Tensor]): Promise<[string, Encoded]> => {
    const chosen = Object.hasOwn(choice, name) ? choice[name] : undefined;
    const codec = codecOf(codecs, chosen ?? "raw", "encode");
    if (!codec.accepts(tensor.spec)) {
      const { datatype, shape } = tensor.spec;
      throw new LongshoreError(
        "unsupported",
        "encode",
        `codec ${codec.id} does not take ${name}, ${datatype} [${shape.join(", ")}]; choose another or raw`,
      );
    }
    return [name, await codec.encode(tensor, call)];
  };
  return new Map(await Promise.all([...tensors].map(one)));
}

/** Decodes the tensors of a crossing. Throws `unsupported` for an unknown codec and `body-mismatch` for bytes at fault. */
export async function decodeCrossing(
  encoded: ReadonlyMap<string, Encoded>,
  codecs: CodecSet,
  call: Call,
): Promise<Tensors> {
  const one = async ([name, coded]: [string, Encoded]): Promise<[string, Tensor]> => {
    const codec = codecOf(codecs, coded.codec, "decode");
    if (!codec.accepts(coded.spec)) {
      throw new LongshoreError(
        "body-mismatch",
        "decode",
        `${name} came as ${coded.codec}, which does not make ${coded.spec.datatype} [${coded.spec.shape.join(", ")}]`,
      );
    }
    return [name, await codec.decode(coded, call)];
  };
  return new Map(await Promise.all([...encoded].map(one)));
}
