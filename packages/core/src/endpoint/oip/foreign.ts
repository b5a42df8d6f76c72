import type { ModelDescription } from "../../model/index.ts";
import { read } from "../../protocol/index.ts";
import { datatypes } from "../../tensor/index.ts";

const { fields, list, optional, text, whole, word } = read;

const name = text(512);
const port = fields({ name, datatype: word(...datatypes), shape: list(whole(-1), 32) });

const metadata = fields({
  name,
  versions: optional(list(name, 4096)),
  inputs: list(port, 256),
  outputs: list(port, 256),
});

const configuration = fields({ max_batch_size: optional(whole(0, 65_536)) });

/**
 * A description of a model on a server that speaks only the Open Inference Protocol, from its metadata and, where the
 * server has it, its configuration. Its digest names the server's model, so it equals no other.
 */
export function foreignDescription(
  server: string,
  version: string | undefined,
  told: { readonly metadata: unknown; readonly configuration: unknown },
): ModelDescription {
  const { name, versions, inputs, outputs } = metadata(told.metadata, "metadata");
  const config = told.configuration === undefined ? {} : configuration(told.configuration, "configuration");
  const newest = [...(versions ?? [])].sort((a, b) => Number(b) - Number(a))[0];
  const own = version ?? newest ?? "";
  return {
    name,
    version: own,
    digest: `foreign:${server}/${name}/${own}`,
    inputs,
    outputs,
    variants: [{ name: "default", body: { kind: "graph", file: "" }, agreementRatio: 1 }],
    batching: { maxBatchSize: config.max_batch_size ?? 0 },
    instances: [],
    labels: {},
    trusted: false,
  };
}
