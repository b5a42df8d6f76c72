import { type Call, checkCall, dropOldest, LongshoreError, UnderWay } from "../../words/base/index.ts";
import { certain } from "../../words/estimate/index.ts";
import { probeHeadBytes } from "../transport/index.ts";
import { endCut, type Segment, startCut } from "../../words/model/index.ts";
import {
  accountHeader,
  callHeaders,
  checksumAfter,
  checksumHeader,
  checksumText,
  crc32Of,
  digestHeader,
  knownReplyHeads,
  maxProbeBytes,
  modelPath,
  noChecksum,
  parseDescription,
  parseJson,
  parseProfile,
  probePath,
  read,
  readWireError,
  segmentPath,
  tenantHeader,
  traceHeaders,
  writeInferRequest,
} from "../protocol/index.ts";
import type {
  Endpoint,
  EndpointCapabilities,
  EndpointInfo,
  InferenceRequest,
  InferenceResponse,
  LoadReport,
  ModelKnowledge,
  MissingEndpoint,
  SequenceQuery,
  SequenceStanding,
  ModelListing,
  Offer,
  OfferQuery,
  Progress,
  StageTime,
  WireForm,
} from "../endpoint/index.ts";
import { emptyBody, followedByChecksum, type StreamBody, type WireBody } from "../body/index.ts";
import { inferPath, nameThere } from "./address.ts";
import { ClientSpan } from "./client-span.ts";
import { badReply, type Exchange, exchange } from "./exchange.ts";
import { foreignKnowledge, isForeignDigest, toldConfiguration } from "./foreign.ts";
import type { OipEndpointParts } from "./parts.ts";
import { expectedOutputs, readResponse } from "./reply.ts";
import { requestMessage, sequenceIdThere } from "./request-message.ts";
import type { FleetReaders } from "./fleet-readers.ts";
import type { OwnRequest } from "./upload.ts";
import { sendableWire, wireMessage } from "./wire.ts";

/** Where a server of Triton's extensions lists its models. */
const indexPath = "/v2/repository/index";
/** The most models whose knowledge is kept to check replies by; the oldest goes first. */
const maxKnown = 256;
/** How long a load that came with another request is fresh, in milliseconds. */
const seenForMs = 1000;

/** See `oipEndpoint`, and `oipClient` for one without `fleet`. */
export class OipEndpoint implements Endpoint {
  readonly info: EndpointInfo;
  readonly capabilities: EndpointCapabilities;
  readonly #parts: OipEndpointParts;
  readonly #fleet: FleetReaders | undefined;
  readonly #known = new Map<string, ModelKnowledge>();
  /** Endpoints behind it that its last offers lacked, by the requested model and version. */
  readonly #missing = new Map<string, readonly MissingEndpoint[]>();
  readonly #heads = knownReplyHeads();
  readonly #under = new UnderWay();
  readonly #own = { underWay: 0, finished: 0 };
  /** The load that came with another request than a poll. */
  #loadSeen: LoadReport | undefined;
  /** Its replies say how busy it is. */
  #tells = false;
  #closed = false;

  constructor(parts: OipEndpointParts, fleet: FleetReaders | undefined) {
    this.info = parts.info;
    this.#parts = parts;
    this.#fleet = fleet;
    const { offers } = parts.info;
    this.capabilities = {
      ready: (model, version, call) => this.#ready(model, version, call),
      loadEveryMs: () => (this.#tells ? undefined : (parts.load?.everyMs ?? (this.#loadSeen && 0))),
      prepare: (segment, call) => this.#prepare(segment, call),
      ...(fleet ? { models: (call) => this.#models(fleet, call) } : {}),
      probe: (bytes, call) => this.#probe(bytes, call),
      ...(parts.transport.connecting || parts.streams?.connecting
        ? {
            connecting: (stream = false) =>
              (stream && parts.streams ? parts.streams : parts.transport).connecting?.(),
          }
        : {}),
      ...(offers ? { sequence: (query, call) => this.#sequence(query, call) } : {}),
      ...(offers
        ? { missing: ({ model, version = "" }) => this.#missing.get(knownKey(model, version)) ?? [] }
        : {}),
      ...(offers && parts.forwardsTenants === true ? { forwardsTenants: true } : {}),
      // Over HTTP the plain protocol has no way to say that a request was answered several times.
      ...(fleet && (offers || parts.streams)
        ? { inferStream: (request, call) => this.#inferStream(fleet, request, call) }
        : {}),
    };
  }

  async describe(
    model: string,
    version: string | undefined,
    call: Call,
  ): Promise<ModelKnowledge | undefined> {
    const name = nameThere(this.info, model);
    if (name === undefined) return undefined;
    const path = modelPath(version === undefined ? { model: name } : { model: name, version });
    const knowledge = this.info.offers
      ? await this.#longshore(path, call)
      : await this.#foreign(path, version, call);
    if (!knowledge) return undefined;
    const renamed = { ...knowledge, description: { ...knowledge.description, name: model } };
    this.#remember(model, renamed);
    return renamed;
  }

  async #ready(model: string, version: string | undefined, call: Call): Promise<boolean> {
    const name = nameThere(this.info, model);
    if (name === undefined) return false;
    // A model with a name of its own there has versions of its own.
    const named = version && name === model ? { model: name, version } : { model: name };
    const path = `${modelPath(named)}/ready`;
    return (await this.#ask(path, call)).status === 200;
  }

  async offers(query: OfferQuery, call: Call): Promise<readonly Offer[]> {
    const fleet = this.#fleet;
    const name = nameThere(this.info, query.model);
    if (!fleet || name === undefined) return [];
    if (!this.info.offers) return this.#toldOffers(fleet, query, name, call);
    const { version, features } = query;
    const path = modelPath(version === undefined ? { model: name } : { model: name, version });
    const search = new URLSearchParams({ knowledge: "0" });
    for (const [key, value] of Object.entries(features ?? {})) search.set(key, String(value));
    const json = await this.#get(`${path}/offers?${search.toString()}`, call);
    const key = knownKey(query.model, version ?? "");
    if (json === undefined) {
      this.#missing.delete(key);
      return [];
    }
    return this.#checked(() => {
      const reply = read.objectAt(json, "the reply");
      const offers = fleet.parseOffers(read.own(reply, "offers"), this.#parts.clock.nowMs());
      const missing = fleet.parseMissing(read.own(reply, "missing"), this.info);
      this.#missing.delete(key);
      if (missing.length > 0) this.#missing.set(key, missing);
      dropOldest(this.#missing, maxKnown);
      return offers
        .filter((offer) => offer.segment.model === query.model)
        .map((offer) => fleet.narrowedOffer(offer, this.info));
    });
  }

  infer(request: InferenceRequest, call: Call, progress?: Progress): Promise<InferenceResponse> {
    this.#own.underWay++;
    return this.#under.track(this.#recorded(request, call, progress), () => {
      this.#own.underWay--;
      this.#own.finished++;
    });
  }

  /** Sends a request as a span of its own, so that events there lie inside it, and records the outcome. */
  async #recorded(
    request: InferenceRequest,
    given: Call,
    progress: Progress | undefined,
  ): Promise<InferenceResponse> {
    const { model, version } = request.segment;
    const span = new ClientSpan(this.#parts, model, given);
    const { call } = span;
    const { clock, info, load: learned } = this.#parts;
    /** Its reply says that it was answered. */
    let answered: Exchange | undefined;
    try {
      if (this.#closed) throw new LongshoreError("unreachable", "transport", `${info.id} was closed`);
      checkCall(call, clock, "transport");
      const path = inferPath(info, request.segment);
      const startedMs = clock.nowMs();
      const form = sendableWire(this.#parts, request);
      const encoded = form ? wireMessage(form) : await this.#message(request, call);
      const codingStages: readonly StageTime[] = isEmpty(request.codecs)
        ? []
        : [{ stage: "encode", name: info.id, tookMs: clock.nowMs() - startedMs }];
      const posted = this.#posted(path, request, call, encoded, form);
      const usualMs = learned?.runMs(nameThere(info, model) ?? model, version);
      const exchanged = await exchange(this.#parts, posted, call, progress, form, usualMs);
      if (exchanged.over) void this.#under.track(exchanged.over);
      if (exchanged.status !== 200) this.#refused(exchanged, progress);
      answered = exchanged;
      const expected = expectedOutputs(request.segment, this.#knows(request));
      const load = this.#loadIn(exchanged.headers);
      const reply = { request, exchanged, expected, codingStages, load };
      const reading = readResponse(this.#parts, reply, this.#heads, call);
      const response = reading instanceof Promise ? await reading : reading;
      this.#tells = response.load !== undefined;
      span.tell("answered", response.account.sentBytes);
      return response;
    } catch (thrown) {
      answered?.leave?.();
      const error = answered ? badReply(info.id, thrown) : thrown;
      span.tell(LongshoreError.from(error, "transport", `asking ${info.id}`).reason, 0);
      throw error;
    }
  }

  async #sequence(
    { model, version, digest, id }: SequenceQuery,
    call: Call,
  ): Promise<SequenceStanding | undefined> {
    const name = nameThere(this.info, model);
    if (name === undefined) return undefined;
    const search = new URLSearchParams({ id: sequenceIdThere(id, call, this.#parts) });
    const headers = callHeaders(call, this.#parts.clock.nowMs());
    if (this.capabilities.forwardsTenants) headers[tenantHeader] = call.tenant;
    headers[digestHeader] = digest;
    const path = `${modelPath({ model: name, version })}/sequence?${search.toString()}`;
    const { status, headers: told, bytes } = await this.#ask(path, call, headers);
    if (status === 200) return this.#checked(() => standingFrom(parseJson(bytes, "the reply")));
    const error = readWireError(status, told, bytes, this.info.id);
    // A server without that content of the model has no sequence of it. One without this question answers `unknown-route`.
    if (error.reason === "unknown-model" || error.reason === "unknown-version") return undefined;
    throw error;
  }

  async #prepare({ model, version, variant, digest, from, to }: Segment, call: Call): Promise<void> {
    const name = nameThere(this.info, model);
    if (this.#closed || !this.info.offers || name === undefined) {
      const what = `${this.info.id} cannot load ${model} in advance; the first request that needs it loads it`;
      throw new LongshoreError("unsupported", "resolve", what);
    }
    const path = segmentPath({ model: name, version, variant }, from, to, "prepare");
    const headers = digest === "" ? {} : { [digestHeader]: digest };
    const reply = await this.#under.track(
      exchange(this.#parts, { method: "POST", path, headers, body: emptyBody }, call),
    );
    if (reply.status !== 200) throw readWireError(reply.status, reply.headers, reply.bytes, this.info.id);
  }

  async #models({ modelListings }: FleetReaders, call: Call): Promise<readonly ModelListing[]> {
    const told = this.info.offers ? callHeaders(call, this.#parts.clock.nowMs()) : {};
    const request = { method: "POST", path: indexPath, headers: told, body: emptyBody } as const;
    const { status, headers, bytes } = await this.#under.track(exchange(this.#parts, request, call));
    // A server of the plain protocol need not have an index.
    if (status === 404 || status === 405) return [];
    if (status !== 200) throw readWireError(status, headers, bytes, this.info.id);
    return this.#checked(() => modelListings(parseJson(bytes, "the reply")));
  }

  async #probe(bytes: number, call: Call): Promise<LoadReport | undefined> {
    if (this.#closed) return undefined;
    // A server without the extension would take bytes that mean nothing for a fault.
    if (!this.info.offers) return bytes > 0 ? undefined : this.#under.track(this.#readLoad(call));
    // With its head it fills whole packets: a head beyond them would make a short train look like a slow link.
    const sent = bytes > 0 ? Math.max(1, Math.min(bytes, maxProbeBytes) - probeHeadBytes) : 0;
    const body = { kind: "parts", parts: [new Uint8Array(sent)] } as const;
    const request = { method: "POST", path: probePath, headers: {}, body } as const;
    const reply = await this.#under.track(exchange(this.#parts, request, call));
    if (reply.status !== 200) throw readWireError(reply.status, reply.headers, reply.bytes, this.info.id);
    return this.#loadIn(reply.headers);
  }

  async close(): Promise<void> {
    this.#closed = true;
    // A request that is answered meanwhile may still be on its way.
    await this.#under.none();
    await this.#parts.transport.close();
    await this.#parts.streams?.close();
    await this.#parts.load?.close();
  }

  async #readLoad(call: Call): Promise<LoadReport | undefined> {
    const seen = this.#loadSeen;
    this.#loadSeen = undefined;
    const news = seen && this.#parts.clock.nowMs() - seen.atMs <= seenForMs ? seen : undefined;
    return (await this.#parts.load?.read({ ...this.#own }, call)) ?? news;
  }

  /** The offers inferred for a server that makes none: from its metrics, or else from Triton's statistics. */
  async #toldOffers(
    { toldStatistics, inferredOffer }: FleetReaders,
    { model, version }: OfferQuery,
    name: string,
    call: Call,
  ): Promise<readonly Offer[]> {
    const { load, clock } = this.#parts;
    const known = [...this.#known.values()].findLast(
      ({ description: one }) => one.name === model && (version === undefined || one.version === version),
    );
    if (!load || !known) return [];
    const there = known.description.version;
    if (load.runMs(name, there) === undefined) {
      const seen = await this.#readLoad(call);
      this.#loadSeen = seen ?? this.#loadSeen;
    }
    if (load.runMs(name, there) === undefined) {
      const path = modelPath(version === undefined ? { model: name } : { model: name, version });
      const get = (): Promise<unknown> => this.#get(`${path}/stats`, call, (status) => status !== 200);
      load.counted(await toldStatistics(get));
    }
    const runMs = load.runMs(name, there);
    if (runMs === undefined) return [];
    const { digest, variants } = known.description;
    const whole = { model, version: there, digest, from: startCut, to: endCut };
    const segment = { ...whole, variant: variants[0]?.name ?? "default" };
    const observedAtMs = clock.nowMs();
    const tookMs = certain(runMs, { observedAtMs, origin: "told" });
    return [inferredOffer(this.info, segment, tookMs, observedAtMs)];
  }

  /** The request as it is posted. */
  #posted(
    path: string,
    request: InferenceRequest,
    call: Call,
    { headers: described, body }: Encoded,
    form: WireForm | undefined,
  ): OwnRequest {
    const { segment, sequence } = request;
    const followed = form && this.#followed(form);
    const headers = Object.assign(this.#headers(request, call, form !== undefined), described);
    if (followed) headers[checksumHeader] = checksumAfter;
    else this.#stateChecksum(headers, body, form?.crc32);
    return {
      method: "POST",
      path,
      headers,
      body: followed ?? body,
      // Other servers may count steps of sequences that are not known as such here, and so may servers that ours forward to.
      repeatable: this.info.offers && !sequence && !isForeignDigest(segment.digest),
    };
  }

  /** Tells the caller how busy the server is, and throws its error. */
  #refused({ status, headers, bytes }: Exchange, progress: Progress | undefined): never {
    const load = this.#loadIn(headers);
    if (load) progress?.refused?.(load);
    throw readWireError(status, headers, bytes, this.info.id);
  }

  /** The load that a reply reports. A client of this one server has no choice that it could guide. */
  #loadIn(headers: Exchange["headers"]): LoadReport | undefined {
    return this.#fleet?.readLoadHeaders(headers, this.#parts.clock.nowMs());
  }

  async *#inferStream(
    { severalAnswers }: FleetReaders,
    request: InferenceRequest,
    call: Call,
  ): AsyncIterable<InferenceResponse> {
    const { clock, info } = this.#parts;
    if (this.#closed) throw new LongshoreError("unreachable", "transport", `${info.id} was closed`);
    checkCall(call, clock, "transport");
    let ended = (): void => undefined;
    void this.#under.track(new Promise<void>((resolve) => (ended = resolve)));
    const expected = expectedOutputs(request.segment, this.#knows(request));
    try {
      const heard = (load: LoadReport | undefined): void => void (this.#loadSeen = load ?? this.#loadSeen);
      const asked = { request, expected, heads: this.#heads, heard };
      yield* severalAnswers(this.#parts, asked, call, async (own) => {
        const path = inferPath(info, request.segment);
        const told = this.#headers(request, own, false);
        if (!info.offers) {
          const message = await requestMessage(this.#parts, request, this.#knows(request), own);
          const byteLength = message.inputs.reduce((sum, { bytes }) => sum + bytes.byteLength, 0);
          const incoming = { byteLength, stream: true, read: async () => message };
          return { method: "POST", path, headers: told, body: emptyBody, message: incoming };
        }
        const { headers: described, body } = await this.#message(request, own);
        const headers = { ...described, ...told };
        this.#stateChecksum(headers, body, undefined);
        return { method: "POST", path, headers, body };
      });
    } finally {
      ended();
    }
  }

  async #message(request: InferenceRequest, call: Call): Promise<Encoded> {
    const { wire = "binary" } = this.#parts;
    const message = await requestMessage(this.#parts, request, this.#knows(request), call);
    const { headers, parts } = writeInferRequest(message, wire);
    return { headers, body: { kind: "parts", parts } };
  }

  /** The headers beside the body. Every server may understand the trace; the rest only those of the extension. */
  #headers(request: InferenceRequest, call: Call, asItCame: boolean): Record<string, string> {
    if (!this.info.offers) return traceHeaders(call);
    const { digest } = request.segment;
    const headers = callHeaders(call, this.#parts.clock.nowMs());
    if (this.capabilities.forwardsTenants) headers[tenantHeader] = call.tenant;
    if (digest !== "") headers[digestHeader] = digest;
    if (this.#parts.account !== false) headers[accountHeader] = asItCame ? "timing" : "1";
    return headers;
  }

  /** States the checksum of a body, and requests that of the reply. `known` is the checksum that its own sender stated. */
  #stateChecksum(headers: Record<string, string>, body: WireBody, known: number | undefined): void {
    const { crc32, info } = this.#parts;
    if (!crc32 || !info.offers) return;
    const value = known ?? (body.kind === "parts" ? crc32Of(body.parts, crc32) : undefined);
    headers[checksumHeader] = value === undefined ? noChecksum : checksumText(value);
  }

  /** A body that is passed on while it arrives, followed by its checksum; undefined if its own sender stated one. */
  #followed({ body, crc32: known }: WireForm): StreamBody | undefined {
    const { crc32, info } = this.#parts;
    if (!crc32 || !info.offers || known !== undefined || body.kind !== "stream") return undefined;
    return body.byteLength === undefined ? undefined : followedByChecksum(body, body.byteLength, crc32);
  }

  async #ask(path: string, call: Call, told: Readonly<Record<string, string>> = {}): Promise<Exchange> {
    if (this.#closed) throw new LongshoreError("unreachable", "transport", `${this.info.id} was closed`);
    const { crc32, info } = this.#parts;
    const sum: Record<string, string> = crc32 && info.offers ? { [checksumHeader]: noChecksum } : {};
    const request = { method: "GET", path, headers: { ...told, ...sum }, body: emptyBody } as const;
    return this.#under.track(exchange(this.#parts, request, call));
  }

  /** The JSON at a path; undefined if the server has nothing of that name, or has unloaded that version. */
  async #get(path: string, call: Call, absentIf: (status: number) => boolean = is404): Promise<unknown> {
    const { status, headers, bytes } = await this.#ask(path, call);
    if (absentIf(status)) return undefined;
    if (status === 200) return this.#checked(() => parseJson(bytes, "the reply"));
    const error = readWireError(status, headers, bytes, this.info.id);
    if (error.reason === "unknown-version") return undefined;
    throw error;
  }

  async #longshore(path: string, call: Call): Promise<ModelKnowledge | undefined> {
    const json = await this.#get(`${path}/offers?offers=0`, call);
    if (json === undefined) return undefined;
    return this.#checked(() => {
      const reply = read.objectAt(json, "the reply");
      read.readWord(1)(read.own(reply, "schemaVersion"), "schemaVersion");
      const description = parseDescription(read.own(reply, "description"));
      const profile = read.own(reply, "profile");
      const told = toldConfiguration(read.own(reply, "configuration"));
      return { ...told, description, ...(profile === undefined ? {} : { profile: parseProfile(profile) }) };
    });
  }

  async #foreign(path: string, version: string | undefined, call: Call): Promise<ModelKnowledge | undefined> {
    const metadata = await this.#get(path, call);
    if (metadata === undefined) return undefined;
    // Servers other than Triton have no configuration to show, and say so in various ways.
    const configuration = await this.#get(`${path}/config`, call, (status) => status !== 200);
    return this.#checked(() => foreignKnowledge(version, { metadata, configuration }));
  }

  #checked<T>(parse: () => T): T {
    try {
      return parse();
    } catch (thrown) {
      throw badReply(this.info.id, thrown);
    }
  }

  #knows({ segment: { model, version } }: InferenceRequest): ModelKnowledge | undefined {
    return this.#known.get(knownKey(model, version));
  }

  #remember(model: string, knowledge: ModelKnowledge): void {
    const key = knownKey(model, knowledge.description.version);
    this.#known.delete(key);
    this.#known.set(key, knowledge);
    dropOldest(this.#known, maxKnown);
  }
}

/** Reads what a server knows of a sequence. */
function standingFrom(json: unknown): SequenceStanding | undefined {
  const reply = read.objectAt(json, "the reply");
  read.readWord(1)(read.own(reply, "schemaVersion"), "schemaVersion");
  const step = read.optional(read.readNumber(0))(read.own(reply, "step"), "step");
  if (step === undefined) return undefined;
  const key = read.optional(read.readText(512))(read.own(reply, "key"), "key");
  return {
    step,
    ended: read.readFlag(read.own(reply, "ended"), "ended"),
    idleMs: read.readNumber(0)(read.own(reply, "idleMs"), "idleMs"),
    ...(key === undefined ? {} : { key }),
  };
}

/** A body with the headers that describe it. */
interface Encoded {
  readonly headers: Readonly<Record<string, string>>;
  readonly body: WireBody;
}

function isEmpty(object: object): boolean {
  for (const _ in object) return false;
  return true;
}

const is404 = (status: number): boolean => status === 404;

function knownKey(model: string, version: string): string {
  return `${model}/${version}`;
}
