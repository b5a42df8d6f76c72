import { type Call, checkFresh, LongshoreError, ownCall } from "../../words/base/index.ts";
import { meanOf } from "../../words/estimate/index.ts";
import { checkSingle, endCut, type Segment, startCut } from "../../words/model/index.ts";
import { copied } from "../../words/tensor/index.ts";
import {
  type Endpoint,
  type EndpointCapabilities,
  type EndpointInfo,
  type Explanation,
  type InferenceRequest,
  type InferenceResponse,
  type LoadReport,
  type ModelKnowledge,
  nextStep,
  type Offer,
  type OfferQuery,
  type SequencePosition,
} from "../../wire/endpoint/index.ts";
import { accountOf, answerOf, newTally, type Tally } from "../account/index.ts";
import { forwardedOffers, permits, splitOffers, undominated } from "../endpoints/index.ts";
import type { KnownModel } from "../models/index.ts";
import { listModels, prepareAll } from "../probe/index.ts";
import {
  admitAtDoor,
  createLoop,
  type Job,
  type OffloadParts,
  type Outcome,
  outlook,
  runJob,
  streamJob,
} from "../race/index.ts";
import { type HeldSequences, heldSequences, stepFrom, unknownSequence } from "../sequence/index.ts";
import { aroundOffers } from "../steps/index.ts";
import { explanationOf } from "./explanation-of.ts";
import { endpointJob, jobWithout, renewedEndpointJob } from "./endpoint-job.ts";
import { Requests } from "./requests.ts";

/** What an offloading endpoint is made of besides an offloader's parts. */
export interface OffloadEndpointParts extends OffloadParts {
  /** What it says of itself; default: the local endpoint's information. Needed when nothing runs here (a gateway). */
  readonly info?: EndpointInfo;
}

/** An endpoint over others. */
export interface OffloadEndpoint extends Endpoint {
  /** How busy this endpoint is by itself: requests under way, and the queue of what runs here. */
  loadReport(): LoadReport;
  /** Whether any endpoint behind it answers now: a gateway without one cannot do anything. */
  reaches(): Promise<boolean>;
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
  return new LoopEndpoint(info, new Requests(createLoop({ ...parts, id: info.id }), info.id, "admission"));
}

class LoopEndpoint implements OffloadEndpoint {
  readonly info: EndpointInfo;
  readonly capabilities: EndpointCapabilities;
  readonly #requests: Requests;
  readonly #sequences: HeldSequences;

  constructor(info: EndpointInfo, requests: Requests) {
    const { loop } = requests;
    this.info = info;
    this.#requests = requests;
    this.#sequences = heldSequences(loop.clock);
    this.capabilities = {
      sendsOn: true,
      known: (model, version, call) => this.#knownNow(model, version, call),
      ready: (model, version, call) => this.#ready(model, version, call),
      prepare: (segment, call) => prepareAll(loop, segment, call),
      models: (call) => listModels(loop, call),
      explain: (query, call) => this.#explain(query, call),
      admit: (segment, call, leastAgreementRatio) => this.#admit(segment, call, leastAgreementRatio),
      inferStream: (request, call) => this.#inferStream(request, call),
    };
  }

  async describe(
    model: string,
    version: string | undefined,
    call: Call,
  ): Promise<ModelKnowledge | undefined> {
    // A question that comes back to here is answered where it began.
    if (call.path.includes(this.info.id)) return undefined;
    try {
      return toldOf(await this.#requests.model(model, version, call, true));
    } catch (thrown) {
      if (LongshoreError.is(thrown) && thrown.reason === "unknown-model") return undefined;
      throw thrown;
    }
  }

  #knownNow(model: string, version: string | undefined, { path }: Call): ModelKnowledge | undefined {
    if (path.includes(this.info.id)) return undefined;
    const { knowledge, clock } = this.#requests.loop;
    const known = knowledge.known(model, version);
    if (known) knowledge.used(model, version, clock.nowMs());
    return known && toldOf(known);
  }

  /** What runs here is ready whenever it is here; else any endpoint that has it. */
  async #ready(model: string, version: string | undefined, call: Call): Promise<boolean> {
    const known = await this.#requests.model(model, version, call, true);
    return known.whole || this.#requests.loop.health.ready(known);
  }

  async offers(query: OfferQuery, call: Call): Promise<readonly Offer[]> {
    if (call.path.includes(this.info.id)) return [];
    const asked = this.#requests.model(query.model, query.version, call, true);
    const known = asked instanceof Promise ? await asked.catch(() => undefined) : asked;
    if (!known) return [];
    const { local, endpoints, clock, device } = this.#requests.loop;
    const { work } = device;
    const nowMs = clock.nowMs();
    const own: Offer[] = [];
    // Nobody is promised what is refused when it is asked for.
    const { defaults } = this.#requests.loop.parts;
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
    return this.#requests.track(this.#infer(request, call));
  }

  close(): Promise<void> {
    return this.#requests.close();
  }

  async #explain({ model, version, features }: OfferQuery, call: Call): Promise<Explanation> {
    const { loop } = this.#requests;
    const known = await this.#requests.model(model, version, call);
    const { description } = known;
    const whole = { model, version: description.version, digest: description.digest };
    const segment = { ...whole, variant: "", from: startCut, to: endCut };
    const bytes = features?.bytes ?? 0;
    const held = {
      cut: startCut,
      variant: undefined,
      features: features ?? { bytes },
      bytes,
      tensors: new Map(),
    };
    const asked = jobWithout(loop, known, { segment, explained: true }, call);
    return explanationOf(outlook(loop, { ...asked, held }, loop.clock.nowMs()));
  }

  /** Refuses at once what no endpoint is left for, and reserves a slot of the engine here if that is to run it. */
  #admit(segment: Segment, call: Call, leastAgreementRatio?: number): Disposable {
    this.#requests.refuseClosed();
    const { knowledge, clock } = this.#requests.loop;
    checkFresh(call, clock.nowMs());
    const known = knowledge.known(segment.model, segment.version === "" ? undefined : segment.version);
    if (!known) return { [Symbol.dispose]: () => undefined };
    const job = jobWithout(this.#requests.loop, known, { segment }, this.#lessFee(call));
    return admitAtDoor(this.#requests.loop, job, segment, leastAgreementRatio);
  }

  async *#inferStream(request: InferenceRequest, call: Call): AsyncIterable<InferenceResponse> {
    let resolve = (): void => undefined;
    void this.#requests.track(new Promise<void>((over) => (resolve = over)));
    try {
      const job = await this.#job(request, call);
      if (job.known.description.decoupled !== true) {
        yield await this.#answer(request, job);
        return;
      }
      const { sequence } = request;
      const stepped = sequence ? { ...job, sequence: stepFrom(undefined, sequence, false) } : job;
      for await (const response of streamJob(this.#requests.loop, stepped)) {
        const { account } = response;
        const tally = { ...newTally(), accounts: [account], costMicros: account.costMicros };
        yield this.#respond(request, { response, tally }, job.call);
      }
    } finally {
      resolve();
    }
  }

  /**
   * A request that was let in before its admission was decided, because it can be sent on, is decided on here. Without an engine here there
   * is nothing to ask, and the plan tells all that could be told.
   */
  #infer(request: InferenceRequest, call: Call): Promise<InferenceResponse> {
    return request.wire && this.#requests.loop.local
      ? this.#admitted(request, call)
      : this.#taken(request, call);
  }

  async #admitted(given: InferenceRequest, call: Call): Promise<InferenceResponse> {
    using pass = this.#admit(given.segment, call, given.leastAgreementRatio);
    return await this.#taken({ ...given, pass }, call);
  }

  async #taken(request: InferenceRequest, call: Call): Promise<InferenceResponse> {
    const taken = this.#job(request, call);
    const job = taken instanceof Promise ? await taken : taken;
    checkSingle(job.known.description, "a stream");
    try {
      return await this.#answer(request, job);
    } catch (thrown) {
      const renewed = await renewedEndpointJob(this.#requests.loop, thrown, job, request, call);
      checkSingle(renewed.known.description, "a stream");
      return this.#answer(request, renewed);
    }
  }

  /** Resolves a request and reads what came with it, unless no endpoint may have it. */
  #job(request: InferenceRequest, asked: Call): Job | Promise<Job> {
    const call = this.#lessFee(asked);
    const { loop } = this.#requests;
    this.#requests.refuseClosed();
    checkFresh(call, loop.clock.nowMs());
    const { model, version } = request.segment;
    const known = this.#requests.model(model, version === "" ? undefined : version, call);
    const job = (it: KnownModel): Job | Promise<Job> => endpointJob(loop, it, request, call);
    return known instanceof Promise ? known.then(job) : job(known);
  }

  async #answer(request: InferenceRequest, job: Job): Promise<InferenceResponse> {
    if (request.sequence) return this.#step(request, request.sequence, job);
    return this.#respond(request, await runJob(this.#requests.loop, job), job.call);
  }

  /** One step of a sequence: counted here, and done from the last state that was answered if its endpoint has lost it. */
  async #step(request: InferenceRequest, position: SequencePosition, job: Job): Promise<InferenceResponse> {
    const { model } = request.segment;
    const key = JSON.stringify([job.call.tenant, model, job.known.description.digest, position.id]);
    const { sequence: kind } = job.known.description;
    using turn = await this.#sequences.enter(key, job.call, kind?.maxIdleMs);
    // No endpoint behind this one is known to have its state.
    if (!turn.held && !position.state && position.step !== 0) throw unknownSequence(model, position);
    const sequence = stepFrom(turn.held, position, this.#requests.loop.endpoints.all.size > 0);
    const outcome = await runJob(this.#requests.loop, { ...job, sequence });
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
    return this.#respond(request, position.wantState ? outcome : { ...outcome, response: rest }, job.call);
  }

  #respond(
    { segment, explained }: InferenceRequest,
    { response, tally }: Pick<Outcome, "response" | "tally">,
    { id: callId, tenant }: Call,
  ): InferenceResponse {
    const { variant } = response.account.segment;
    const { local, parts, clock } = this.#requests.loop;
    const own = accountOf(this.info, local?.info.id, { ...segment, variant }, tally);
    const micros = this.#feeMicros(tally);
    const account = micros > 0 ? { ...own, costMicros: own.costMicros + micros } : own;
    if (micros > 0) {
      const [endpoint, model, atMs] = [this.info.id, segment.model, clock.nowMs()];
      parts.observer.record({ kind: "cost-charged", atMs, callId, tenant, model, endpoint, micros });
    }
    const answer = answerOf(response, account, this.#load(response, account.forwarded.length > 0));
    const because = explained && tally.plans.at(-1)?.because;
    return because === undefined ? answer : { ...answer, because };
  }

  /** The call with what its limit on cost leaves after the price of this endpoint. */
  #lessFee(call: Call): Call {
    const fee = this.info.rates.microsPerRequest ?? 0;
    const { maxCostMicros } = call;
    if (maxCostMicros === undefined || fee === 0) return call;
    if (fee > maxCostMicros) {
      const what = `a request to ${this.info.id} costs ${fee} micros; the request may cost ${maxCostMicros}`;
      throw new LongshoreError("no-endpoint", "admission", what);
    }
    return Object.assign(ownCall(call), { maxCostMicros: maxCostMicros - fee });
  }

  /** What this endpoint asks for a request that it forwarded; of one that ran here the engine asks it. */
  #feeMicros({ accounts }: Pick<Tally, "accounts">): number {
    const { local } = this.#requests.loop;
    const ranHere = accounts.some(({ endpoint }) => endpoint === local?.info.id);
    return ranHere ? 0 : (this.info.rates.microsPerRequest ?? 0);
  }

  /** Its own load; the answering endpoint's report speaks for this one only when that endpoint is here. */
  #load({ load }: InferenceResponse, forwarded: boolean): LoadReport {
    if (load && !forwarded) return { ...load, inFlight: Math.max(load.inFlight, this.#requests.size) };
    return this.loadReport();
  }

  reaches(): Promise<boolean> {
    return this.#requests.loop.health.reaches();
  }

  loadReport(): LoadReport {
    const { device, clock } = this.#requests.loop;
    const nowMs = clock.nowMs();
    return { atMs: nowMs, cpuRatio: 0, inFlight: this.#requests.size, queueMs: device.work.queueMs(nowMs) };
  }
}

/** What others are told of a model: a profile that was only assumed is none. */
function toldOf({ description, configuration, profile }: KnownModel): ModelKnowledge {
  const told = configuration ? { description, configuration } : { description };
  return profile.measuredOn.threads > 0 ? { ...told, profile } : told;
}
