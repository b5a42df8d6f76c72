import {
  type Account,
  type Call,
  type Endpoint,
  endCut,
  type EndpointInfo,
  type InferenceRequest,
  type InferenceResponse,
  type ModelDescription,
  type ModelKnowledge,
  type Offer,
  type Profile,
  startCut,
  type Tensor,
  type Tensors,
} from "@longshore/core";
import { certain } from "@longshore/core/internal";

/** The endpoint information of the doubles of tests by default. */
export const doubleInfo: EndpointInfo = {
  id: "double",
  tier: "edge",
  zone: "eu/store-7",
  trust: "operated",
  codecs: ["raw"],
  state: "movable",
  offers: true,
  rates: { microsPerSecond: 0, microsPerMegabyte: 0, activeWatts: 0 },
};

/** A description for doubles: one graph, not batched, no labels. */
export function doubleDescription(
  change: Partial<ModelDescription> & Pick<ModelDescription, "name">,
): ModelDescription {
  return {
    version: "1",
    digest: `sha256:${"0".repeat(64)}`,
    inputs: [{ name: "x", datatype: "FP32", shape: [-1, 3] }],
    outputs: [{ name: "y", datatype: "FP32", shape: [-1, 3] }],
    variants: [{ name: "default", body: { kind: "graph", file: "model.onnx" }, agreementRatio: 1 }],
    batching: { maxBatchSize: 0 },
    instances: [{ count: 1 }],
    labels: {},
    trusted: true,
    ...change,
  };
}

/** A double's promise to run all of a model: `runMs` by itself, for every caller, for ever, and for free. */
export function doubleOffer(
  description: Pick<ModelDescription, "name" | "version" | "digest" | "variants">,
  { id, zone, trust }: Pick<EndpointInfo, "id" | "zone" | "trust">,
  runMs: number,
): Offer {
  const { name, version, digest, variants } = description;
  return {
    segment: { model: name, version, digest, variant: variants[0]?.name ?? "", from: startCut, to: endCut },
    path: [id],
    zones: [zone],
    trust,
    completionMs: certain(runMs),
    queueMs: 0,
    energyMillijoules: 0,
    costMicros: 0,
    agreementRatio: 1,
    upTo: { bytes: Infinity },
    codecs: [],
    expiresAtMs: Infinity,
    origin: "promised",
  };
}

/** A model of a double: its description and its behaviour. */
export interface DoubleModel {
  readonly description: ModelDescription;
  readonly profile?: Profile;
  readonly offers?: readonly Offer[];
  /** Gives the outputs for the (read) inputs. */
  run(
    inputs: Tensors,
    request: InferenceRequest,
    call: Call,
  ): Tensors | Promise<Tensors> | Promise<Partial<InferenceResponse> & { outputs: Tensors }>;
}

/** The requests that a double got, for the test to read. */
export interface DoubleEndpoint extends Endpoint {
  readonly requests: { readonly request: InferenceRequest; readonly call: Call; readonly inputs: Tensors }[];
  readonly closed: boolean;
}

async function readInputs(request: InferenceRequest, call: Call): Promise<Tensors> {
  const inputs = new Map<string, Tensor>();
  for (const [name, input] of request.inputs) {
    inputs.set(name, "read" in input ? await input.read(call) : input);
  }
  return inputs;
}

/** An endpoint in memory over functions, which replaces the engine, or a server, in tests of their neighbours. */
export function doubleEndpoint(
  models: readonly DoubleModel[],
  info: Partial<EndpointInfo> = {},
): DoubleEndpoint {
  const own: EndpointInfo = { ...doubleInfo, ...info };
  const asked: DoubleEndpoint["requests"] = [];
  let closed = false;
  const find = (model: string, version: string | undefined): DoubleModel | undefined =>
    models.find(
      ({ description }) =>
        description.name === model && (version === undefined || description.version === version),
    );
  return {
    info: own,
    capabilities: {},
    requests: asked,
    get closed(): boolean {
      return closed;
    },
    async describe(model, version): Promise<ModelKnowledge | undefined> {
      const found = find(model, version);
      if (!found) return undefined;
      return { description: found.description, ...(found.profile ? { profile: found.profile } : {}) };
    },
    async offers({ model, version }) {
      return find(model, version)?.offers ?? [];
    },
    async infer(request, call): Promise<InferenceResponse> {
      const found = find(request.segment.model, request.segment.version);
      if (!found)
        throw new Error(`the test asked for ${request.segment.model}, which its double does not have`);
      const inputs = await readInputs(request, call);
      asked.push({ request, call, inputs });
      const given = await found.run(inputs, request, call);
      const response = given instanceof Map ? { outputs: given as Tensors } : (given as InferenceResponse);
      const account: Account = {
        endpoint: own.id,
        zone: own.zone,
        segment: request.segment,
        stages: [{ stage: "run", name: request.segment.model, tookMs: 1 }],
        sentBytes: 0,
        receivedBytes: 0,
        energy: { millijoules: 0, label: "estimated" },
        costMicros: 0,
        forwarded: [],
      };
      return { account, load: { atMs: 0, cpuRatio: 0.25, inFlight: 1, queueMs: 2.5 }, ...response };
    },
    async close() {
      closed = true;
    },
  };
}
