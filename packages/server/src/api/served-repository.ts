import type { Call, Json, ModelListing } from "@longshore/core";

/** The operations on models behind an endpoint that the API uses, besides running them. */
export interface ServedRepository {
  /** Lists all models, or one, for which it may also report that it does not exist. */
  index(call: Call, model?: string): Promise<readonly ModelListing[]>;
  /** @param override Replaces the files of the model in the repository, until the model is loaded again without one. */
  load(model: string, version: string | undefined, call: Call, override?: ModelOverride): Promise<void>;
  /** @param dependents Whether the models that it is made of, or which of them, are unloaded, too, as far as nothing else is made of them. */
  unload(model: string, call: Call, dependents?: boolean | ((model: string) => boolean)): Promise<void>;
  /** Configuration of a version besides its description, in the JSON of Triton's `ModelConfig`. */
  configuration?(
    model: string,
    version: string,
    call: Call,
  ): Promise<Readonly<Record<string, Json>> | undefined>;
  /** The part of a model from `start` to a cut as an ONNX file; undefined if it is not a single file. */
  head?(
    address: {
      readonly model: string;
      readonly version: string;
      readonly variant: string;
      readonly to: string;
    },
    call: Call,
  ): Promise<{ readonly digest: string; readonly bytes: Uint8Array } | undefined>;
}

/** A configuration, and files beside it, from a request to load a model. */
export interface ModelOverride {
  /** Triton's `ModelConfig` as JSON text. */
  readonly config: string;
  /** By path inside the model's folder: `1/model.onnx`; instead of all files that lie there. */
  readonly files?: ReadonlyMap<string, Uint8Array>;
  /** Models that it may use; others count as missing. Default: all. */
  readonly sees?: (model: string) => boolean;
}
