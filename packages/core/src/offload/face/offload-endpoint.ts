import {
  type Call,
  checkFresh,
  LongshoreError,
  ownCall,
  UnderWay,
  type Writable,
} from "../../words/base/index.ts";
import {
  type Endpoint,
  type EndpointCapabilities,
  type EndpointInfo,
  type InferenceRequest,
  type InferenceResponse,
  type LoadReport,
  type ModelKnowledge,
  nextStep,
  type Offer,
  type OfferQuery,
  type SequencePosition,
} from "../../wire/endpoint/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import { aimFrom, travellingAim } from "../../decide/goal/index.ts";
import { checkSingle, type Segment, segmentKey, startCut } from "../../words/model/index.ts";
import { isInfeasible } from "../../decide/plan/index.ts";
import { listModels, prepareAll } from "../probe/index.ts";
import { type HeldSequences, heldSequences, stepFrom, unknownSequence } from "../sequence/index.ts";
import { copied, type Tensor, type Tensors } from "../../words/tensor/index.ts";
import { confirming } from "../race/index.ts";
import { admitAtDoor, outlook } from "../race/index.ts";
import { type Job, nobody } from "../race/index.ts";
import { refusedNow } from "../race/index.ts";
import { forwardedOffers, permits, splitOffers, undominated } from "../endpoints/index.ts";
import type { KnownModel } from "../models/index.ts";
import { aroundOffers, arrived, type Held } from "../steps/index.ts";
import type { Knowledge } from "../knowledge/index.ts";
import { createLoop, type Loop } from "../race/index.ts";
import type { OffloadParts } from "../race/index.ts";
import { type Outcome, runJob } from "../race/index.ts";
import { streamJob } from "../race/index.ts";
import { accountOf, answerOf, newTally } from "../account/index.ts";

/** What an offloading endpoint is made of besides an offloader's parts. */
export interface OffloadEndpointParts extends OffloadParts {
  /** What it says of itself; default: the local endpoint's information. Needed when nothing runs here (a gateway). */
  readonly info?: EndpointInfo;
}

/** An endpoint over others. */
export interface OffloadEndpoint extends Endpoint {
  /** How busy this endpoint is by itself: requests under way, and the queue of what runs here. */
  loadReport(): LoadReport;
}

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

/** A request with what is known of its model. */
interface Taken {
  readonly known: KnownModel;
  readonly job: Job;
}

class LoopEndpoint implements OffloadEndpoint {
  readonly info: EndpointInfo;
  readonly capabilities: EndpointCapabilities = {
    sendsOn: true,
    known: (model, version, call) => this.#knownNow(model, version, call),
    ready: (model, version, call) => this.#ready(model, version, call),
    prepare: (segment, call) => prepareAll(this.#loop, segment, call),
    models: (call) => listModels(this.#loop, call),
    admit: (segment, call, leastAgreementRatio) => this.#admit(segment, call, leastAgreementRatio),
    inferStream: (request, call) => this.#inferStream(request, call),
  };
  readonly #loop: Loop;
  readonly #sequences: HeldSequences;
  readonly #underWay = new UnderWay();
  #closed: Promise<void> | undefined;

  constructor(info: EndpointInfo, loop: Loop) {
    this.info = info;
    this.#loop = loop;
    this.#sequences = heldSequences(loop.clock);
  }

  async describe(
    model: string,
    version: string | undefined,
    call: Call,
  ): Promise<ModelKnowledge | undefined> {
    // A question that comes back to here is answered where it began.
    if (call.path.includes(this.info.id)) return undefined;
    try {
      return toldOf(await this.#known(model, version, call, true));
    } catch (thrown) {
      if (LongshoreError.is(thrown) && thrown.reason === "unknown-model") return undefined;
      throw thrown;
    }
  }

  #knownNow(model: string, version: string | undefined, { path }: Call): ModelKnowledge | undefined {
    if (path.includes(this.info.id)) return undefined;
    const { knowledge, clock } = this.#loop;
    const known = knowledge.known(model, version);
    if (known) knowledge.used(model, version, clock.nowMs());
    return known && toldOf(known);
  }

  /** What runs here is ready whenever it is here; else any endpoint that has it. */
  async #ready(model: string, version: string | undefined, call: Call): Promise<boolean> {
    const known = await this.#known(model, version, call, true);
    return known.whole || this.#loop.ready(known);
  }

  async offers(query: OfferQuery, call: Call): Promise<readonly Offer[]> {
    if (call.path.includes(this.info.id)) return [];
    const asked = this.#known(query.model, query.version, call, true);
    const known = asked instanceof Promise ? await asked.catch(() => undefined) : asked;
    if (!known) return [];
    const { local, endpoints, clock, work } = this.#loop;
    const nowMs = clock.nowMs();
    const own: Offer[] = [];
    // Nobody is promised what is refused when it is asked for.
    const { defaults } = this.#loop.parts;
    const here = local && permits(defaults, local.info) ? local : undefined;
    if (here && known.here) {
      const queueMs = work.queueMs(nowMs);
      for (const offer of await here.offers(query, call)) {
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
    const failingMs = endpoints.failingMs(known, call.tenant, nowMs);
    const forwarded = [...endpoints.all].flatMap(([id, endpoint]) => {
      const offers =
        known.offersBy.get(id)?.filter((one) => permits(defaults, endpoint.endpoint.info, one)) ?? [];
      return forwardedOffers(this.info, endpoint, offers, known, call.path, nowMs, failingMs(id));
    });
    // Of two by the same way, whoever asked keeps the first.
    const quickestFirst = [
      ...splitOffers(own, forwarded, known),
      ...(here ? aroundOffers(this.info, known, forwarded, work.queueMs(nowMs)) : []),
      ...forwarded,
    ].sort((one, other) => meanOf(one.completionMs) - meanOf(other.completionMs));
    return undominated([...own, ...quickestFirst]);
  }

  infer(request: InferenceRequest, call: Call): Promise<InferenceResponse> {
    return this.#underWay.track(this.#infer(request, call));
  }

  /** See `Endpoint.admit`: refuses at once what no endpoint is left for, and holds an endpoint of the engine here where that is to run it. */
  #admit(segment: Segment, call: Call, leastAgreementRatio?: number): Disposable {
    this.#refuseClosed();
    const { knowledge, clock } = this.#loop;
    checkFresh(call, clock.nowMs());
    const known = knowledge.known(segment.model, segment.version === "" ? undefined : segment.version);
    if (!known) return { [Symbol.dispose]: () => undefined };
    const job = this.#job(known, { segment }, call);
    return admitAtDoor(this.#loop, job, segment, leastAgreementRatio);
  }

  async *#inferStream(request: InferenceRequest, call: Call): AsyncIterable<InferenceResponse> {
    let resolve = (): void => undefined;
    void this.#underWay.track(new Promise<void>((over) => (resolve = over)));
    try {
      const { known, job } = await this.#take(request, call);
      if (known.description.decoupled !== true) {
        yield await this.#answer(request, job);
        return;
      }
      const { sequence } = request;
      const stepped = sequence ? { ...job, sequence: stepFrom(undefined, sequence, false) } : job;
      for await (const response of streamJob(this.#loop, stepped)) {
        const tally = { ...newTally(), accounts: [response.account] };
        yield this.#respond(request, { response, tally });
      }
    } finally {
      resolve();
    }
  }

  close(): Promise<void> {
    this.#closed ??= (async () => {
      await this.#underWay.over();
      this.#loop.stop();
      await this.#loop.endpoints.closeAll();
      await this.#loop.local?.close();
    })();
    return this.#closed;
  }

  /** At once where it is known, as it is for all but the first. */
  #known(...asked: Parameters<Knowledge["learn"]>): KnownModel | Promise<KnownModel> {
    const { knowledge, clock } = this.#loop;
    const [model, version, , question] = asked;
    const now = question ? knowledge.known(model, version) : knowledge.settled(model, version);
    const used = (known: KnownModel): KnownModel => {
      knowledge.used(model, version, clock.nowMs());
      return known;
    };
    return now ? used(now) : knowledge.learn(...asked).then(used);
  }

  #refuseClosed(): void {
    if (this.#closed) throw new LongshoreError("shutting-down", "admission", `${this.info.id} is closing`);
  }

  /**
   * A request that was let in unjudged because it can be sent on is judged here. Where nothing runs here there is no door to ask,
   * and its plan tells all that could be told.
   */
  #infer(request: InferenceRequest, call: Call): Promise<InferenceResponse> {
    return request.wire && this.#loop.local ? this.#judged(request, call) : this.#taken(request, call);
  }

  async #judged(given: InferenceRequest, call: Call): Promise<InferenceResponse> {
    using pass = this.#admit(given.segment, call, given.leastAgreementRatio);
    return await this.#taken({ ...given, pass }, call);
  }

  async #taken(request: InferenceRequest, call: Call): Promise<InferenceResponse> {
    const taken = this.#take(request, call);
    const { known, job } = taken instanceof Promise ? await taken : taken;
    checkSingle(known.description, "a stream");
    return await this.#answer(request, job);
  }

  /** Resolves a request and reads what came with it, unless no endpoint may have it. */
  #take(request: InferenceRequest, call: Call): Taken | Promise<Taken> {
    this.#refuseClosed();
    const { segment } = request;
    checkFresh(call, this.#loop.clock.nowMs());
    const version = segment.version === "" ? undefined : segment.version;
    const known = this.#known(segment.model, version, call);
    const take = (model: KnownModel): Taken | Promise<Taken> => this.#takeFor(model, request, call);
    return known instanceof Promise ? known.then(take) : take(known);
  }

  #takeFor(known: KnownModel, request: InferenceRequest, call: Call): Taken | Promise<Taken> {
    const { segment } = request;
    const { digest } = known.description;
    if (segment.digest !== "" && segment.digest !== digest) {
      const what = `${segmentKey(segment)} here is ${digest}, not ${segment.digest.slice(0, 80)}`;
      throw new LongshoreError("unknown-version", "resolve", what);
    }
    const held = this.#held(known, request, call);
    const taken = (it: Held): Taken => ({
      known,
      job: Object.assign(this.#job(known, request, call), { held: it }),
    });
    return held instanceof Promise ? held.then(taken) : taken(held);
  }

  /**
   * The crossing that came with the request. Bodies are read only when some endpoint is left that may take them, and not here
   * where they may be sent on as they come.
   */
  #held(known: KnownModel, request: InferenceRequest, call: Call): Held | Promise<Held> {
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
    if (!arriving) {
      const tensors = new Map<string, Tensor>();
      for (const [name, input] of inputs) if (!("read" in input)) tensors.set(name, input);
      return { cut: segment.from, variant, features, bytes, tensors };
    }
    const early = { cut: segment.from, variant, features, bytes, tensors: noTensors, arriving: inputs };
    const job = { ...this.#job(known, request, call), held: early };
    if (request.wire && !job.confirm && known.description.decoupled !== true) return early;
    const nowMs = this.#loop.clock.nowMs();
    const plan = outlook(this.#loop, job, nowMs);
    if (isInfeasible(plan)) throw refusedNow(this.#loop, job, early, nobody, plan, nowMs);
    return arrived(early, inputs, call);
  }

  #job(
    known: KnownModel,
    request: Omit<InferenceRequest, "inputs" | "codecs">,
    call: Call,
  ): Omit<Job, "held"> {
    const { variant, to } = request.segment;
    const aim = aimFrom(call.goal, this.#loop.parts.defaults);
    const goal = travellingAim(aim);
    // Endpoints behind this one keep what is usual here, too.
    const toldOn = goal === call.goal ? call : Object.assign(ownCall(call), { goal });
    // An empty name leaves the choice to this endpoint.
    const { objective, minInTimeRatio, minAgreementRatio } = aim;
    const limits = variant === "" ? aim : { objective, minInTimeRatio, minAgreementRatio, variant };
    // Assigned one by one, since this is done for every small request.
    const job: Writable<Omit<Job, "held">> = Object.assign(
      { known, to, asked: request, limits, unexplained: true as const },
      confirming(this.#loop, toldOn, "everywhere"),
    );
    if (known.description.decoupled === true) job.whole = true;
    if (request.wire && !this.#loop.local) job.unjudged = true;
    return job;
  }

  async #answer(request: InferenceRequest, job: Job): Promise<InferenceResponse> {
    if (request.sequence) return this.#step(request, request.sequence, job);
    return this.#respond(request, await runJob(this.#loop, job));
  }

  /** One step of a sequence: counted here, and done from the last state that was answered if its endpoint has lost it. */
  async #step(request: InferenceRequest, position: SequencePosition, job: Job): Promise<InferenceResponse> {
    const { model } = request.segment;
    const key = JSON.stringify([job.call.tenant, model, job.known.description.digest, position.id]);
    const { sequence: kind } = job.known.description;
    using turn = await this.#sequences.enter(key, job.call, kind?.maxIdleMs);
    // No endpoint behind this one is known to have its state.
    if (!turn.held && !position.state && position.step !== 0) throw unknownSequence(model, position);
    const sequence = stepFrom(turn.held, position, this.#loop.endpoints.all.size > 0);
    const outcome = await runJob(this.#loop, { ...job, sequence });
    const { state, stateSeal, ...rest } = outcome.response;
    if (position.end) turn.forget();
    else if (sequence.step !== nextStep) {
      turn.keep({
        step: sequence.step,
        endpoint: outcome.leg.endpoint,
        state: state && position.wantState ? copied(state) : state,
        seal: stateSeal,
      });
    }
    return this.#respond(request, position.wantState ? outcome : { ...outcome, response: rest });
  }

  #respond(
    { segment }: InferenceRequest,
    { response, tally }: Pick<Outcome, "response" | "tally">,
  ): InferenceResponse {
    const { variant } = response.account.segment;
    const account = accountOf(this.info, this.#loop.local?.info.id, { ...segment, variant }, tally);
    return answerOf(response, account, this.#load(response, account.forwarded.length > 0));
  }

  /** Its own load; the answering endpoint's report speaks for this one only when that endpoint is here. */
  #load({ load }: InferenceResponse, forwarded: boolean): LoadReport {
    if (load && !forwarded) return { ...load, inFlight: Math.max(load.inFlight, this.#underWay.size) };
    return this.loadReport();
  }

  loadReport(): LoadReport {
    const { work, clock } = this.#loop;
    const nowMs = clock.nowMs();
    return { atMs: nowMs, cpuRatio: 0, inFlight: this.#underWay.size, queueMs: work.queueMs(nowMs) };
  }
}

const noTensors: Tensors = new Map<string, Tensor>();

/** What others are told of a model: a profile that was only assumed is none. */
function toldOf({ description, configuration, profile }: KnownModel): ModelKnowledge {
  const told = configuration ? { description, configuration } : { description };
  return profile.measuredOn.threads > 0 ? { ...told, profile } : told;
}
