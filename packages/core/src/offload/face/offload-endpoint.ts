import { type Call, checkFresh, type EndpointId, LongshoreError, ownCall } from "../../words/base/index.ts";
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
  type MissingEndpoint,
  type ModelKnowledge,
  nextStep,
  type Offer,
  type OfferQuery,
  type SequencePosition,
  type SequenceQuery,
  type SequenceStanding,
} from "../../wire/endpoint/index.ts";
import { accountOf, answerOf, newTally, type Tally } from "../account/index.ts";
import { forwardedOffers, missingEndpoints, permits, splitOffers, undominated } from "../endpoints/index.ts";
import type { KnownModel } from "../models/index.ts";
import { listModels, prepareAll } from "../probe/index.ts";
import {
  admitFromHead,
  createLoop,
  type Job,
  lastStanding,
  type OffloadParts,
  type Outcome,
  outlook,
  resumedStep,
  runJob,
  streamJob,
} from "../race/index.ts";
import { type HeldSequences, heldSequences, stepFrom } from "../sequence/index.ts";
import { aroundOffers } from "../steps/index.ts";
import { explanationOf } from "./explanation-of.ts";
import { endpointJob, jobWithout, renewedEndpointJob } from "./endpoint-job.ts";
import { Requests } from "./requests.ts";

/** Parts of an offloading endpoint, in addition to those of an offloader. */
export interface OffloadEndpointParts extends OffloadParts {
  /** Its own endpoint information; default: that of the local endpoint. Required if nothing runs here (a gateway). */
  readonly info?: EndpointInfo;
}

/** An endpoint in front of other endpoints. */
export interface OffloadEndpoint extends Endpoint {
  /** Load of this endpoint alone: its requests under way, and the queue of local runs. */
  loadReport(): LoadReport;
  /** Whether any endpoint behind it answers now. A gateway without one can answer nothing. */
  reaches(): Promise<boolean>;
  /** The endpoints behind it that are known now. */
  readonly behind: Iterable<EndpointId>;
}

/**
 * Plans over several endpoints and is itself an endpoint: server(offloadEndpoint([local, cloud])) is an edge server,
 * server(offloadEndpoint([remotes])) a gateway. It decides for each request with the request's rules, deadline and path. It appends itself
 * to the path, and offers its own work as well as the work that others do through it.
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
      vacant: () => loop.local === undefined && loop.endpoints.all.size === 0,
      prepare: (segment, call) => prepareAll(loop, segment, call),
      models: (call) => listModels(loop, call),
      missing: (query, call) => this.#missing(query, call),
      sequence: (query, call) => this.#sequence(query, call),
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
    // A query that comes back to this endpoint was answered by it before.
    if (call.path.includes(this.info.id)) return undefined;
    try {
      return knowledgeOf(await this.#requests.model(model, version, call, true));
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
    return known && knowledgeOf(known);
  }

  /** A model here is ready once it is loaded; otherwise any endpoint that has it decides. */
  async #ready(model: string, version: string | undefined, call: Call): Promise<boolean> {
    const known = await this.#requests.model(model, version, call, true);
    return known.whole || this.#requests.loop.health.ready(known);
  }

  async offers(query: OfferQuery, call: Call): Promise<readonly Offer[]> {
    if (call.path.includes(this.info.id)) return [];
    const found = this.#requests.model(query.model, query.version, call, true);
    const known = found instanceof Promise ? await found.catch(() => undefined) : found;
    if (!known) return [];
    const { local, endpoints, clock, device } = this.#requests.loop;
    const { work } = device;
    const nowMs = clock.nowMs();
    const own: Offer[] = [];
    // Offers exclude work that this endpoint would refuse.
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
    const failingMs = endpoints.runs.failingMs(known, call.tenant, nowMs);
    const forwarded = [...endpoints.all].flatMap(([id, endpoint]) => {
      const offers =
        known.offersBy.get(id)?.filter((one) => permits(defaults, endpoint.endpoint.info, one)) ?? [];
      return forwardedOffers(this.info, endpoint, offers, known, call.path, nowMs, failingMs(id));
    });
    // Fastest first: of two offers with the same route, the caller keeps the first.
    const quickestFirst = [
      ...splitOffers(own, forwarded, known),
      ...(here ? aroundOffers(this.info, known, forwarded, work.queueMs(nowMs)) : []),
      ...forwarded,
    ].sort((one, other) => meanOf(one.completionMs) - meanOf(other.completionMs));
    return undominated([...own, ...quickestFirst]);
  }

  #missing({ model, version }: OfferQuery, call: Call): readonly MissingEndpoint[] {
    const { knowledge, endpoints, parts, clock } = this.#requests.loop;
    const known = knowledge.known(model, version);
    if (!known || call.path.includes(this.info.id)) return [];
    return missingEndpoints(this.info, endpoints, known, parts.defaults, call, clock.nowMs());
  }

  async #sequence(query: SequenceQuery, call: Call): Promise<SequenceStanding | undefined> {
    if (call.path.includes(this.info.id)) return undefined;
    const { loop } = this.#requests;
    const known = await this.#requests.model(query.model, query.version, call, true);
    return lastStanding(loop, { known, call, limits: {} }, query.id);
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
    const job = jobWithout(loop, known, { segment, explained: true }, call);
    return explanationOf(outlook(loop, { ...job, held }, loop.clock.nowMs()));
  }

  /** Refuses at once if no endpoint may take the request. Reserves a slot of the local engine if that is to run it. */
  #admit(segment: Segment, call: Call, leastAgreementRatio?: number): Disposable {
    this.#requests.refuseClosed();
    const { knowledge, clock } = this.#requests.loop;
    checkFresh(call, clock.nowMs());
    const known = knowledge.known(segment.model, segment.version === "" ? undefined : segment.version);
    if (!known) return { [Symbol.dispose]: () => undefined };
    const job = jobWithout(this.#requests.loop, known, { segment }, this.#lessFee(call));
    return admitFromHead(this.#requests.loop, job, segment, leastAgreementRatio);
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
   * Decides the admission of a request that was let in early because it can be forwarded. Without a local engine there is nothing to
   * reserve, and the plan reports every reason.
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

  /** Resolves a request and reads its inputs, unless no endpoint may have them. */
  #job(request: InferenceRequest, given: Call): Job | Promise<Job> {
    const call = this.#lessFee(given);
    const { loop } = this.#requests;
    this.#requests.refuseClosed();
    checkFresh(call, loop.clock.nowMs());
    const { model, version } = request.segment;
    const known = this.#requests.model(model, version === "" ? undefined : version, call);
    return known instanceof Promise
      ? known.then((learned) => endpointJob(loop, learned, request, call))
      : endpointJob(loop, known, request, call);
  }

  async #answer(request: InferenceRequest, job: Job): Promise<InferenceResponse> {
    if (request.sequence) return this.#step(request, request.sequence, job);
    return this.#respond(request, await runJob(this.#requests.loop, job), job.call);
  }

  /** Runs one step of a sequence. It counts the step and repeats it from the last answered state if the endpoint has lost it. */
  async #step(request: InferenceRequest, position: SequencePosition, job: Job): Promise<InferenceResponse> {
    const { model, version } = request.segment;
    const key = JSON.stringify([job.call.tenant, model, job.known.description.digest, position.id]);
    const { sequence: kind } = job.known.description;
    using turn = await this.#sequences.enter(key, job.call, kind?.maxIdleMs);
    // Nothing is known of it here: it may be that this endpoint was restarted within the sequence.
    const lost = !turn.held && !position.state && position.step !== 0;
    const { loop } = this.#requests;
    const held = lost ? await resumedStep(loop, job, position) : turn.held;
    const sequence = stepFrom(held, position, loop.endpoints.all.size > 0);
    // Its server may have joined while it was looked for.
    const latest = lost ? loop.knowledge.known(model, version === "" ? undefined : version) : undefined;
    const known = latest?.description.digest === job.known.description.digest ? latest : job.known;
    const outcome = await runJob(loop, { ...job, known, sequence });
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

  /** The call, with its cost limit reduced by the price of this endpoint. */
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

  /** Price of this endpoint for a forwarded request. The engine charges for requests that ran here. */
  #feeMicros({ accounts }: Pick<Tally, "accounts">): number {
    const fee = this.info.rates.microsPerRequest ?? 0;
    if (fee === 0) return 0;
    const { local } = this.#requests.loop;
    return accounts.some(({ endpoint }) => endpoint === local?.info.id) ? 0 : fee;
  }

  /** This endpoint's own load. The report of the answering endpoint applies only if that endpoint is here. */
  #load({ load }: InferenceResponse, forwarded: boolean): LoadReport {
    if (load && !forwarded) return { ...load, inFlight: Math.max(load.inFlight, this.#requests.size) };
    return this.loadReport();
  }

  reaches(): Promise<boolean> {
    return this.#requests.loop.health.reaches();
  }

  get behind(): Iterable<EndpointId> {
    return this.#requests.loop.endpoints.all.keys();
  }

  loadReport(): LoadReport {
    const { device, clock } = this.#requests.loop;
    const nowMs = clock.nowMs();
    return { atMs: nowMs, cpuRatio: 0, inFlight: this.#requests.size, queueMs: device.work.queueMs(nowMs) };
  }
}

/** Description of a model for other endpoints, without an assumed profile. */
function knowledgeOf({ description, configuration, profile }: KnownModel): ModelKnowledge {
  const known = configuration ? { description, configuration } : { description };
  return profile.measuredOn.threads > 0 ? { ...known, profile } : known;
}
