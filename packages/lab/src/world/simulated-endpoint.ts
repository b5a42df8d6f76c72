/**
 * An endpoint that charges measured times instead of computing: requests cross an emulated link, wait for a slot, hold it for
 * what the profile says and come back. Faults can be switched on while it runs. It answers with blank tensors of the right
 * shapes, or with the result of `compute`, so that right answers differ from wrong ones.
 */
import {
  type Call,
  type Clock,
  type Endpoint,
  type EndpointInfo,
  type InferenceRequest,
  type InferenceResponse,
  type LinkLearner,
  type LoadReport,
  LongshoreError,
  type ModelKnowledge,
  type Offer,
  type OfferQuery,
  type Progress,
  type Random,
  type Tensors,
} from "@longshore/core";
import {
  checkCall,
  childCall,
  offerJson,
  segmentKey,
  sleep,
  tinyBytes,
  moveMicros,
  runMicros,
} from "@longshore/core/internal";
import type { EmulatedLink } from "../link/index.ts";
import { fifoSlots, type Slots } from "../slots/index.ts";
import { type Envelope, questionBytes, wireOf } from "./wire.ts";
import { blankTensors, bucketOf, codingOf, crossingWireBytes, cutOf, drawnRunMs } from "./profile-times.ts";
import { offersOf, type OfferTerms } from "./simulated-offers.ts";
import type { SimulatedModel } from "./simulated-model.ts";
import { stepsWithin, wholeWork } from "./step-times.ts";

/** The faults of an endpoint. All may change while it runs. */
export interface Faults {
  /** Connections are refused, and what is under way breaks. */
  down: boolean;
  /** Requests are taken and never answered. */
  hang: boolean;
  /** Runs take this many times longer than offered. */
  slowFactor: number;
  /** Offers promise this share of the honest time: 0.01 is a black hole. */
  promiseFactor: number;
  /** Answers have wrong names and shapes. */
  garbage: boolean;
  /** Share of requests that fail at random with `run-failed`. */
  failRatio: number;
}

/** The parts of a simulated endpoint. */
export interface SimulatedEndpointParts {
  readonly info: EndpointInfo;
  readonly models: readonly SimulatedModel[];
  readonly clock: Clock;
  readonly random: Random;
  /** How many times faster than the profile's machine; default 1. */
  readonly speed?: number;
  /** Requests that run at once; default 1. */
  readonly instances?: number;
  /** Slots that other callers use too; instead of `instances` and `maxQueue`. */
  readonly slots?: Slots;
  /**
   * How many times faster than the profile's machine the caller is, which encodes what it sends. Coding takes its profiled
   * time then, on both sides; default: no time.
   */
  readonly callerSpeed?: number;
  /** Requests that may wait; default 1000. */
  readonly maxQueue?: number;
  /** Spread of service times around the profile, as a standard deviation of the logarithm; default 0.05. */
  readonly logSpread?: number;
  /** The link between the caller and it; undefined for an endpoint in the caller's own process. */
  readonly link?: EmulatedLink;
  /**
   * The time that the software of both sides adds to an exchange, in milliseconds, beside coding and the run; of several
   * values, as they were measured, each exchange draws one. Default 0.
   */
  readonly handlingMs?: number | readonly number[];
  /** Bytes of a request and of a reply besides their tensors; default `defaultEnvelope`. */
  readonly envelope?: Envelope;
  /** Told of transfers and round trips, as `oipEndpoint` tells it. */
  readonly learner?: LinkLearner;
  readonly faults?: Partial<Faults>;
}

/** A simulated endpoint, and its switches. */
export interface SimulatedEndpoint extends Endpoint {
  readonly faults: Faults;
  load(): LoadReport;
  /** Requests accepted so far, and how they ended. */
  readonly counts: { readonly accepted: number; readonly answered: number; readonly failed: number };
}

/**
 * Bytes of a request and of a reply besides their tensors: heads and JSON. On the wire the samples have 400 to 1,000 one way
 * and 1,200 to 3,000 the other, where each step that ran has its line.
 */
export const defaultEnvelope: Envelope = { up: 400, down: 1300 };

/** Makes an endpoint. Same parts, seed and calls: same answers at the same instants. */
export function simulatedEndpoint(parts: SimulatedEndpointParts): SimulatedEndpoint {
  const { info, clock, random, speed = 1, instances = 1, logSpread, link, learner } = parts;
  const { callerSpeed = Infinity, handlingMs = 0, envelope = defaultEnvelope } = parts;
  let down = parts.faults?.down ?? false;
  /** Breaks what is under way when the endpoint goes down. */
  const underWay = new Set<(error: LongshoreError) => void>();
  const faults: Faults = {
    hang: false,
    slowFactor: 1,
    promiseFactor: 1,
    garbage: false,
    failRatio: 0,
    ...parts.faults,
    get down() {
      return down;
    },
    set down(value) {
      down = value;
      if (!down) return;
      const error = new LongshoreError("no-answer", "transport", `the connection to ${info.id} broke`);
      underWay.forEach((stop) => stop(error));
    },
  };
  const wire = wireOf({ clock, link, learner, envelope });
  const slots = parts.slots ?? fifoSlots({ clock, count: instances, maxQueue: parts.maxQueue ?? 1000 });
  const known = new Map<SimulatedModel, number>();
  function knowledgeBytes(model: SimulatedModel): number {
    const { description, profile } = model;
    const bytes = known.get(model) ?? jsonBytes({ description, profile });
    known.set(model, bytes);
    return bytes;
  }
  const counts = { accepted: 0, answered: 0, failed: 0 };
  let closed = false;

  function find(model: string, version: string | undefined): SimulatedModel | undefined {
    return parts.models.find(
      ({ description }) =>
        description.name === model && (version === undefined || description.version === version),
    );
  }

  function load(): LoadReport {
    return {
      atMs: clock.nowMs(),
      cpuRatio: slots.busyRatio,
      inFlight: slots.inFlight,
      queueMs: slots.waitMs(),
    };
  }

  function termsOf(model: SimulatedModel): OfferTerms {
    const { promiseFactor } = faults;
    const wholeMs = slots.waitMs(wholeWork(model)) * promiseFactor;
    return {
      info,
      nowMs: clock.nowMs(),
      queueMs: (bucket, segment) =>
        model.steps ? slots.waitMs(stepsWithin(model, bucket, segment)) * promiseFactor : wholeMs,
      slowness: promiseFactor / speed,
    };
  }

  const handling = (): number =>
    typeof handlingMs === "number"
      ? handlingMs
      : (handlingMs[Math.floor(random.next() * handlingMs.length)] ?? 0);

  /** A request and its answer of this many bytes. */
  async function ask(answerBytes: number, call: Call): Promise<void> {
    if (!link) return;
    const startedMs = clock.nowMs();
    using sent = await wire.send(questionBytes, call);
    await sleep(clock, handling(), call.abort);
    await wire.reply(questionBytes + answerBytes, call, () => {
      sent.answered(0);
      learner?.roundTripSeen(clock.nowMs() - startedMs, clock.nowMs());
    });
  }

  function refuseWhenDown(): void {
    if (closed || down)
      throw new LongshoreError("unreachable", "transport", `${info.id} refuses connections`);
  }

  async function serve(
    request: InferenceRequest,
    model: SimulatedModel,
    call: Call,
    progress: Progress | undefined,
  ): Promise<InferenceResponse> {
    const { segment, codecs } = request;
    const features = model.featuresOf?.(request) ?? { bytes: inputBytes(request) };
    const bucket = bucketOf(model.profile, segment.variant, features);
    const from = cutOf(bucket, segment.from);
    const coding = callerSpeed < Infinity ? codingOf(from, codecs) : undefined;
    const encodeMs = (coding?.encodeMs ?? 0) / callerSpeed;
    const decodeMs = (coding?.decodeMs ?? 0) / speed;
    if (encodeMs > 0) await sleep(clock, encodeMs, call.abort);
    const startedMs = clock.nowMs();
    const sentBytes = envelope.up + crossingWireBytes(from, codecs, inputBytes(request));
    using sent = await wire.send(sentBytes, call, progress);
    const landedMs = clock.nowMs();
    if (link) await sleep(clock, handling(), call.abort);
    const arrivedMs = clock.nowMs();
    if (faults.hang) await sleep(clock, Infinity, call.abort);
    checkCall(call, clock, "admission");
    if (faults.failRatio > 0 && random.next() < faults.failRatio)
      throw new LongshoreError("run-failed", "execute", "a run failed at random");
    const drawnMs = drawnRunMs(bucket, segment, random, logSpread);
    const service = (): number => (drawnMs * faults.slowFactor) / speed;
    if (decodeMs > 0) await sleep(clock, decodeMs, call.abort);
    const { queueMs, serviceMs } = await slots.work(
      service,
      call,
      undefined,
      stepsWithin(model, bucket, segment),
    );
    const right = model.compute
      ? await model.compute(request)
      : blankTensors(cutOf(bucket, segment.to).cut.crossing);
    const outputs: Tensors = faults.garbage ? new Map() : right;
    const report = load();
    let receivedBytes = envelope.down;
    for (const tensor of outputs.values()) receivedBytes += tensor.bytes.byteLength;
    const doneMs = clock.nowMs();
    await wire.reply(receivedBytes, call, () => {
      const nowMs = clock.nowMs();
      progress?.acknowledged(sentBytes - envelope.up);
      sent.answered(doneMs - landedMs);
      if (sentBytes >= tinyBytes) return;
      learner?.roundTripSeen(nowMs - doneMs + (arrivedMs - startedMs), nowMs, doneMs - arrivedMs);
    });
    const networkMs = clock.nowMs() - doneMs + (arrivedMs - startedMs);
    return {
      outputs,
      account: {
        endpoint: info.id,
        zone: info.zone,
        segment,
        stages: [
          ...(encodeMs > 0 ? [{ stage: "encode" as const, name: segment.from, tookMs: encodeMs }] : []),
          ...(link ? [{ stage: "network" as const, name: info.id, tookMs: networkMs }] : []),
          ...(decodeMs > 0 ? [{ stage: "decode" as const, name: segment.from, tookMs: decodeMs }] : []),
          { stage: "queue", name: segment.model, tookMs: queueMs },
          { stage: "run", name: segment.model, tookMs: serviceMs },
        ],
        sentBytes: link ? sentBytes : 0,
        receivedBytes: link ? receivedBytes : 0,
        energy: { millijoules: info.rates.activeWatts * serviceMs, label: "estimated" },
        costMicros: Math.min(
          call.maxCostMicros ?? Infinity,
          runMicros(info.rates, serviceMs, info.rates.activeWatts * serviceMs) +
            (link ? moveMicros(info.rates, sentBytes, receivedBytes) : 0),
        ),
        forwarded: [],
      },
      load: report,
    };
  }

  return {
    info,
    faults,
    counts,
    load,
    async describe(model, version, call): Promise<ModelKnowledge | undefined> {
      refuseWhenDown();
      checkCall(call, clock, "resolve");
      const found = find(model, version);
      await ask(found ? knowledgeBytes(found) : 0, call);
      return found && { description: found.description, profile: found.profile };
    },
    async offers(query: OfferQuery, call): Promise<readonly Offer[]> {
      refuseWhenDown();
      checkCall(call, clock, "resolve");
      const model = find(query.model, query.version);
      const offers = model ? offersOf(model, query.features, termsOf(model)) : [];
      await ask(jsonBytes(offers.map((offer) => offerJson(offer, clock.nowMs()))), call);
      return offers;
    },
    async infer(request, call, progress) {
      refuseWhenDown();
      checkCall(call, clock, "admission");
      const { segment } = request;
      const model = find(segment.model, segment.version);
      if (!model)
        throw new LongshoreError(
          "unknown-model",
          "resolve",
          `${info.id} does not serve ${segmentKey(segment)}`,
        );
      counts.accepted += 1;
      using child = childCall(call);
      underWay.add(child.cancel);
      try {
        const response = await serve(request, model, child.call, progress);
        counts.answered += 1;
        return response;
      } catch (thrown) {
        counts.failed += 1;
        throw LongshoreError.from(thrown, "execute", `running ${segmentKey(segment)}`);
      } finally {
        underWay.delete(child.cancel);
      }
    },
    capabilities: {
      ...(link?.connecting ? { connecting: link.connecting } : {}),
      async probe(bytes, call) {
        if (!link) return undefined;
        refuseWhenDown();
        using sent = await wire.probe(bytes, call);
        await wire.reply(questionBytes, call, () => sent.answered(0));
        return undefined;
      },
    },
    close() {
      closed = true;
      return Promise.resolve();
    },
  };
}

function jsonBytes(value: unknown): number {
  return JSON.stringify(value).length;
}

function inputBytes(request: InferenceRequest): number {
  let bytes = 0;
  for (const input of request.inputs.values())
    bytes += "bytes" in input ? input.bytes.byteLength : input.byteLength;
  return bytes;
}
