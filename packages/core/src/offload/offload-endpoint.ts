import { type Call, type EndpointId, LongshoreError } from "../base/index.ts";
import type {
  Account,
  Endpoint,
  EndpointInfo,
  InferenceRequest,
  InferenceResponse,
  LoadReport,
  ModelKnowledge,
  ModelListing,
  Offer,
  OfferQuery,
} from "../endpoint/index.ts";
import { meanOf } from "../estimate/index.ts";
import { type Segment, segmentKey, startCut } from "../model/index.ts";
import { isInfeasible } from "../plan/index.ts";
import { type Tensor, type Tensors, totalBytes } from "../tensor/index.ts";
import { admitAtDoor } from "./door.ts";
import type { Held, Job, JobSequence } from "./job.ts";
import { forwardedOffers, type KnownModel, splitOffers, undominated } from "../places/index.ts";
import { createLoop, type Loop } from "./loop.ts";
import type { OffloadParts } from "./parts.ts";
import { checkFresh, noPlace, type Outcome, runJob } from "./run-job.ts";
import { streamJob } from "./stream-job.ts";
import { newTally } from "./tally.ts";

/** What an offloading endpoint is made of besides an offloader's parts. */
export interface OffloadEndpointParts extends OffloadParts {
  /** What it says of itself; default: the local endpoint's information. Needed when nothing runs here (a gateway). */
  readonly info?: EndpointInfo;
}

/** An endpoint over others. */
export interface OffloadEndpoint extends Endpoint {
  /** How busy this place is by itself: requests under way, and the queue of what runs here. */
  loadReport(): LoadReport;
}

/** Sequences whose place is remembered; the one that was used least recently is forgotten. */
const maxSequences = 10_000;

/**
 * Plans over several endpoints and is one: server(offloadEndpoint([local, cloud])) is an edge server,
 * server(offloadEndpoint([remotes])) a gateway. It decides for each request with the rules, deadline and path that came
 * with it, appends itself to the path, and offers what it can do here as well as what others can do through it.
 */
export function offloadEndpoint(parts: OffloadEndpointParts): OffloadEndpoint {
  const info = parts.info ?? parts.local?.info;
  if (!info) {
    throw new LongshoreError(
      "invalid-configuration",
      "plan",
      "an offloading endpoint without a local one needs `info`: its id, tier, zone and trust",
    );
  }
  return new LoopEndpoint(info, createLoop({ ...parts, id: info.id }));
}

class LoopEndpoint implements OffloadEndpoint {
  readonly info: EndpointInfo;
  readonly #loop: Loop;
  readonly #sequences = new Map<string, EndpointId>();
  readonly #underWay = new Set<Promise<unknown>>();
  #inFlight = 0;
  #closed: Promise<void> | undefined;

  constructor(info: EndpointInfo, loop: Loop) {
    this.info = info;
    this.#loop = loop;
  }

  async describe(
    model: string,
    version: string | undefined,
    call: Call,
  ): Promise<ModelKnowledge | undefined> {
    // A question that comes back to here is answered where it began.
    if (call.path.includes(this.info.id)) return undefined;
    try {
      const { description, profile } = await this.#known(model, version, call);
      return profile.measuredOn.threads > 0 ? { description, profile } : { description };
    } catch (thrown) {
      if (LongshoreError.is(thrown) && thrown.reason === "unknown-model") return undefined;
      throw thrown;
    }
  }

  async offers(query: OfferQuery, call: Call): Promise<readonly Offer[]> {
    if (call.path.includes(this.info.id)) return [];
    const known = await this.#known(query.model, query.version, call).catch(() => undefined);
    if (!known) return [];
    const { local, places, clock, work } = this.#loop;
    const nowMs = clock.nowMs();
    const own: Offer[] = [];
    if (local && known.here) {
      const queueMs = work.queueMs(nowMs);
      for (const offer of await local.offers(query, call)) {
        own.push({
          ...offer,
          path: [this.info.id],
          queueMs: Math.max(offer.queueMs, queueMs),
          completionMs: {
            ...offer.completionMs,
            values: offer.completionMs.values.map((value) => value + Math.max(0, queueMs - offer.queueMs)),
          },
        });
      }
    }
    const through = Array.from(places.all.values(), (place) =>
      forwardedOffers(
        this.info,
        place,
        known.offersBy.get(place.endpoint.info.id) ?? [],
        known,
        call.path,
        nowMs,
      ),
    );
    const forwarded = through.flat();
    // Of two by the same way, whoever asked keeps the first.
    const quickestFirst = [...splitOffers(own, forwarded, known), ...forwarded].sort(
      (one, other) => meanOf(one.completionMs) - meanOf(other.completionMs),
    );
    return undominated([...own, ...quickestFirst]);
  }

  /** What the places have between them; the best state of each version. Places that do not answer are left out. */
  async models(call: Call): Promise<readonly ModelListing[]> {
    const { local, places, clock } = this.#loop;
    const others = [...places.all.values()].filter(
      (place) => place.health.unavailable(clock.nowMs()) === undefined,
    );
    const endpoints = [...(local ? [local] : []), ...others.map((place) => place.endpoint)];
    const told = await Promise.allSettled(endpoints.map(async (one) => (await one.models?.(call)) ?? []));
    const best = new Map<string, ModelListing>();
    for (const listing of told.flatMap((one) => (one.status === "fulfilled" ? one.value : []))) {
      const key = JSON.stringify([listing.name, listing.version]);
      if (best.get(key)?.state !== "READY") best.set(key, listing);
    }
    return [...best.values()];
  }

  infer(request: InferenceRequest, call: Call): Promise<InferenceResponse> {
    const work = this.#infer(request, call);
    const over = (): void => {
      this.#underWay.delete(work);
      this.#inFlight--;
    };
    this.#underWay.add(work);
    this.#inFlight++;
    work.then(over, over);
    return work;
  }

  /** See `Endpoint.admit`: refuses at once what no place is left for, and holds a place of the engine here where that is to run it. */
  admit(segment: Segment, call: Call, leastAgreementRatio?: number): Disposable {
    this.#refuseClosed();
    const { knowledge, clock } = this.#loop;
    checkFresh(call, clock.nowMs());
    const known = knowledge.known(segment.model, segment.version === "" ? undefined : segment.version);
    if (!known) return { [Symbol.dispose]: () => undefined };
    const job = this.#job(known, { segment }, call);
    return admitAtDoor(this.#loop, job, segment, call, leastAgreementRatio);
  }

  async *inferStream(request: InferenceRequest, call: Call): AsyncIterable<InferenceResponse> {
    let resolve = (): void => undefined;
    const promise = new Promise<void>((over) => {
      resolve = over;
    });
    this.#underWay.add(promise);
    this.#inFlight++;
    try {
      const { known, job } = await this.#take(request, call);
      if (known.description.decoupled !== true) {
        yield this.#respond(request, await runJob(this.#loop, job));
        return;
      }
      for await (const response of streamJob(this.#loop, job)) {
        const tally = { ...newTally(), accounts: [response.account] };
        yield this.#respond(request, { response, tally });
      }
    } finally {
      this.#underWay.delete(promise);
      this.#inFlight--;
      resolve();
    }
  }

  close(): Promise<void> {
    this.#closed ??= (async () => {
      await Promise.allSettled(this.#underWay);
      this.#loop.stop();
      await this.#loop.places.closeAll();
      await this.#loop.local?.close();
    })();
    return this.#closed;
  }

  async #known(model: string, version: string | undefined, call: Call): Promise<KnownModel> {
    const { knowledge, clock } = this.#loop;
    const known = knowledge.known(model, version) ?? (await knowledge.learn(model, version, call));
    knowledge.used(model, version, clock.nowMs());
    return known;
  }

  #refuseClosed(): void {
    if (this.#closed) throw new LongshoreError("shutting-down", "admission", `${this.info.id} is closing`);
  }

  async #infer(request: InferenceRequest, call: Call): Promise<InferenceResponse> {
    const { known, job } = await this.#take(request, call);
    if (known.description.decoupled === true) {
      throw new LongshoreError(
        "unsupported",
        "admission",
        `model ${request.segment.model} gives any number of answers to a request; ask for a stream`,
      );
    }
    const outcome = await runJob(this.#loop, job);
    if (request.sequence) this.#remember(request.segment.model, request.sequence.id, call, outcome);
    return this.#respond(request, outcome);
  }

  /** Resolves a request and reads what came with it, unless no place may have it. */
  async #take(
    request: InferenceRequest,
    call: Call,
  ): Promise<{ readonly known: KnownModel; readonly job: Job }> {
    this.#refuseClosed();
    const { segment } = request;
    checkFresh(call, this.#loop.clock.nowMs());
    const version = segment.version === "" ? undefined : segment.version;
    const known = await this.#known(segment.model, version, call);
    const { digest } = known.description;
    if (segment.digest !== "" && segment.digest !== digest) {
      throw new LongshoreError(
        "unknown-version",
        "resolve",
        `${segmentKey(segment)} here is ${digest}, not ${segment.digest.slice(0, 80)}`,
      );
    }
    const held = await this.#held(known, request, call);
    return { known, job: { ...this.#job(known, request, call), held } };
  }

  /** The crossing that came with the request. Bodies are read only when some place is left that may take them. */
  async #held(known: KnownModel, request: InferenceRequest, call: Call): Promise<Held> {
    const { segment, inputs } = request;
    let bytes = 0;
    let items: number | undefined;
    let arriving = false;
    for (const input of inputs.values()) {
      bytes += "read" in input ? input.byteLength : input.bytes.byteLength;
      if (input.spec.ragged === true) items ??= input.spec.shape[0];
      arriving ||= "read" in input;
    }
    const variant = segment.from === startCut ? undefined : segment.variant;
    const features = items === undefined ? { bytes } : { bytes, items };
    const about = { cut: segment.from, variant, features };
    if (arriving) {
      const early = { ...about, tensors: noTensors, bytes };
      const plan = this.#loop.plan(
        { ...this.#job(known, request, call), held: early },
        early,
        new Set(),
        this.#loop.clock.nowMs(),
      );
      if (isInfeasible(plan)) throw noPlace(plan);
    }
    const tensors = new Map<string, Tensor>();
    for (const [name, input] of inputs) {
      tensors.set(name, "read" in input ? await input.read(call) : input);
    }
    return { ...about, tensors, bytes: totalBytes(tensors) };
  }

  #job(
    known: KnownModel,
    request: Omit<InferenceRequest, "inputs" | "codecs">,
    call: Call,
  ): Omit<Job, "held"> {
    const { segment } = request;
    const { defaults = {} } = this.#loop.parts;
    const sequence = this.#sequence(request, call);
    return {
      known,
      to: segment.to,
      asked: request,
      limits: {
        objective: defaults.objective ?? "latency",
        minAgreementRatio: defaults.minAgreementRatio ?? 0.995,
        // An empty name leaves the choice to this place.
        ...(segment.variant === "" ? {} : { variant: segment.variant }),
      },
      call,
      sequence,
      ...(known.description.decoupled === true ? { whole: true } : {}),
    };
  }

  #sequence(
    { segment, sequence }: Pick<InferenceRequest, "segment" | "sequence">,
    call: Call,
  ): JobSequence | undefined {
    if (!sequence) return undefined;
    return {
      id: sequence.id,
      step: sequence.step,
      end: sequence.end,
      resident: this.#sequences.get(sequenceKey(segment.model, sequence.id, call)),
      state: sequence.state,
      wantState: sequence.wantState,
    };
  }

  #remember(model: string, id: string, call: Call, { leg }: Outcome): void {
    const key = sequenceKey(model, id, call);
    this.#sequences.delete(key);
    this.#sequences.set(key, leg.endpoint);
    if (this.#sequences.size <= maxSequences) return;
    for (const oldest of this.#sequences.keys()) {
      this.#sequences.delete(oldest);
      break;
    }
  }

  /** One account for all that happened behind this place; what ran elsewhere is listed in `forwarded`. */
  #respond(
    request: InferenceRequest,
    { response, tally }: Pick<Outcome, "response" | "tally">,
  ): InferenceResponse {
    const here = this.#loop.local?.info.id;
    const own = tally.accounts.filter((account) => account.endpoint === here);
    const others = tally.accounts.filter((account) => account.endpoint !== here);
    const account: Account = {
      endpoint: this.info.id,
      zone: this.info.zone,
      segment: { ...request.segment, variant: response.account.segment.variant },
      stages: own.flatMap((one) => one.stages),
      sentBytes: tally.sentBytes,
      receivedBytes: tally.receivedBytes,
      energy: { millijoules: tally.millijoules, label: tally.measured ? "measured" : "estimated" },
      costMicros: tally.costMicros,
      forwarded: others,
    };
    return { ...response, account, load: this.#load(response, others.length > 0) };
  }

  /** Its own load; the answering place's report speaks for this one only when that place is here. */
  #load({ load }: InferenceResponse, forwarded: boolean): LoadReport {
    if (!forwarded) return { ...load, inFlight: Math.max(load.inFlight, this.#inFlight) };
    return this.loadReport();
  }

  loadReport(): LoadReport {
    const { work, clock } = this.#loop;
    const nowMs = clock.nowMs();
    return { atMs: nowMs, cpuRatio: 0, inFlight: this.#inFlight, queueMs: work.queueMs(nowMs) };
  }
}

const noTensors: Tensors = new Map<string, Tensor>();

/** The same id of another tenant, or for another model, is another sequence. */
function sequenceKey(model: string, id: string, { tenant }: Call): string {
  return JSON.stringify([tenant, model, id]);
}
