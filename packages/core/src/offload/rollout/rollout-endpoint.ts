import { type Call, LongshoreError, type Reason } from "../../words/base/index.ts";
import { difference, toleranceFor } from "../check/index.ts";
import {
  answersOf,
  bytesOfInputs,
  type Endpoint,
  type EndpointChanges,
  type InferenceRequest,
  type InferenceResponse,
  type ModelKnowledge,
  type ModelListing,
  type Progress,
  readInputs,
  wrapEndpoint,
} from "../../wire/endpoint/index.ts";
import { endCut, type Segment, startCut } from "../../words/model/index.ts";
import { copied } from "../../words/tensor/index.ts";
import type { Alias, Target } from "./alias.ts";
import type { Rollouts } from "./rollouts.ts";
import { countsAgainstVersion } from "./rollouts.ts";
import { type Side, sideOf } from "./side.ts";

/** Parts of an endpoint with aliases. */
export interface RolloutEndpointParts {
  readonly rollouts: Rollouts;
  readonly clock: { nowMs(): number };
  /** Maximum of shadows under way at once; further requests get no shadow. Default 4. */
  readonly maxShadows?: number;
  /** Maximum input of a request with a shadow, in bytes; default 8 MiB. */
  readonly maxShadowBytes?: number;
  /** Random number in 0..1, for the share of requests with a shadow. */
  readonly draw: () => number;
}

/** Number of sequences under way that are remembered. */
const maxBegun = 10_000;

/**
 * Wraps an endpoint with aliases. A request for an alias becomes a request for a version of its model, known by digest, so all parts of its
 * run use the same content. If a candidate fails, the stable version answers. Shadows run after the caller has its answer, as the same
 * caller under the same rules, and their answers are discarded.
 */
export function rolloutEndpoint(inner: Endpoint, parts: RolloutEndpointParts): Endpoint {
  const { rollouts, clock, maxShadows = 4, maxShadowBytes = 8 * 2 ** 20 } = parts;
  let shadows = 0;
  /** Keyed by name, tenant and sequence, in order of last use. */
  const begun = new Map<string, Alias>();

  const targeted = (request: InferenceRequest, alias: Alias, target: Target): InferenceRequest => ({
    ...request,
    segment: { ...request.segment, model: alias.model, version: target.version, digest: target.digest },
  });

  /** A request that names a version, or holds a part of one, gets that version. */
  function choose(alias: Alias, request: InferenceRequest, call: Call): Side {
    const { digest, version } = request.segment;
    const { stable, trial } = alias;
    if (digest === "" && version === "") {
      return sideOf(alias, call, request.sequence?.id);
    }
    const fits = (one: Target | undefined): boolean =>
      one !== undefined &&
      (digest === "" || one.digest === digest) &&
      (version === "" || one.version === version);
    if (fits(stable)) return "stable";
    if (fits(trial?.candidate)) return "candidate";
    throw new LongshoreError(
      "unknown-version",
      "resolve",
      `alias ${alias.name} leads to version ${stable.version}${trial ? ` and ${trial.candidate.version}` : ""} of ${alias.model}, to no other content`,
    );
  }

  /**
   * The alias as it was at the start of the request's sequence. The sequence keeps its version, because its state is invalid for another
   * one.
   */
  function atBegin(alias: Alias, { sequence }: InferenceRequest, { tenant }: Call): Alias {
    if (!sequence) return alias;
    const key = JSON.stringify([alias.name, tenant, sequence.id]);
    const before = (sequence.step === 0 ? undefined : begun.get(key)) ?? alias;
    begun.delete(key);
    if (!sequence.end) begun.set(key, before);
    const [oldest] = begun.size > maxBegun ? begun.keys() : [];
    if (oldest !== undefined) begun.delete(oldest);
    return before;
  }

  /** The request for the version of a side. Its admission was granted for the stable version that the alias has now. */
  function sided(request: InferenceRequest, alias: Alias, side: Side): InferenceRequest {
    const target = side === "candidate" && alias.trial ? alias.trial.candidate : alias.stable;
    const { pass, ...meant } = targeted(request, alias, target);
    const granted = pass && rollouts.find(alias.name)?.stable.digest === target.digest;
    return granted ? { ...meant, pass } : meant;
  }

  async function run(
    alias: Alias,
    side: Side,
    request: InferenceRequest,
    call: Call,
    progress?: Progress,
  ): Promise<InferenceResponse> {
    const startedMs = clock.nowMs();
    let failed: Reason | undefined;
    try {
      return await inner.infer(sided(request, alias, side), call, progress);
    } catch (thrown) {
      failed = LongshoreError.from(thrown, "execute", `running ${alias.name}`).reason;
      throw thrown;
    } finally {
      rollouts.ended(alias, side, clock.nowMs() - startedMs, failed);
    }
  }

  async function inferAlias(
    now: Alias,
    request: InferenceRequest,
    call: Call,
    progress?: Progress,
  ): Promise<InferenceResponse> {
    const alias = atBegin(now, request, call);
    const side = choose(alias, request, call);
    const shadowed = side === "stable" && wantsShadow(alias, request);
    const coverable = isCoverable(side, request);
    // Inputs that are still arriving can be read only once, and two runs need them. After its answer the caller may reuse the inputs, and
    // the first run may have consumed them.
    const read = shadowed || coverable ? await readInputs(request.inputs, call) : undefined;
    const held = read ? { ...request, inputs: read } : request;
    const kept = read ? { ...request, inputs: copied(read) } : request;
    const leftMs = call.deadlineMs - clock.nowMs();
    try {
      const response = await run(alias, side, held, call, progress);
      // The shadow gets as much time as the stable version had. With only the rest of it, an equally fast candidate would be late.
      if (shadowed) shadow(alias, kept, { ...call, deadlineMs: clock.nowMs() + leftMs }, response);
      return response;
    } catch (thrown) {
      if (!coverable || !isCovered(thrown, call)) throw thrown;
      return inner.infer(targeted(kept, alias, alias.stable), call);
    }
  }

  /** Whether the stable version can answer a request for a side instead. */
  function isCoverable(side: Side, { segment, sequence }: InferenceRequest): boolean {
    return side === "candidate" && segment.digest === "" && !sequence;
  }

  /** Whether the stable version covers this failure of a candidate. */
  function isCovered(thrown: unknown, call: Call): boolean {
    const { reason } = LongshoreError.from(thrown, "execute", "running a candidate");
    return countsAgainstVersion(reason) && !call.abort.aborted && clock.nowMs() < call.deadlineMs;
  }

  const answers = (request: InferenceRequest, call: Call): AsyncIterable<InferenceResponse> =>
    answersOf(inner, request, call);

  /** Streams the answers of a side. Its time is that to the first answer: the reader sets the pace of the others. */
  async function* runStream(
    alias: Alias,
    side: Side,
    request: InferenceRequest,
    call: Call,
  ): AsyncIterable<InferenceResponse> {
    const startedMs = clock.nowMs();
    let firstMs: number | undefined;
    // This value stays if the caller leaves.
    let failed: Reason | undefined = "cancelled";
    try {
      for await (const response of answers(sided(request, alias, side), call)) {
        firstMs ??= clock.nowMs() - startedMs;
        yield response;
      }
      failed = undefined;
    } catch (thrown) {
      failed = LongshoreError.from(thrown, "execute", `running ${alias.name}`).reason;
      throw thrown;
    } finally {
      // A caller that leaves after an answer has not waited in vain.
      const left = failed === "cancelled" && firstMs !== undefined;
      rollouts.ended(alias, side, firstMs ?? clock.nowMs() - startedMs, left ? undefined : failed);
    }
  }

  /** Like `inferAlias`, without shadows. After its first answer a stream is not covered any more. */
  async function* streamAlias(
    now: Alias,
    request: InferenceRequest,
    call: Call,
  ): AsyncIterable<InferenceResponse> {
    const alias = atBegin(now, request, call);
    const side = choose(alias, request, call);
    const read = isCoverable(side, request) ? await readInputs(request.inputs, call) : undefined;
    const held = read ? { ...request, inputs: read } : request;
    const kept = read && { ...request, inputs: copied(read) };
    let begun = false;
    try {
      for await (const response of runStream(alias, side, held, call)) {
        begun = true;
        yield response;
      }
    } catch (thrown) {
      if (begun || !kept || !isCovered(thrown, call)) throw thrown;
      yield* answers(targeted(kept, alias, alias.stable), call);
    }
  }

  /** The stable version of an alias, as a segment. */
  function stable(segment: Segment): Segment {
    const alias = rollouts.find(segment.model);
    return alias ? { ...segment, model: alias.model, ...alias.stable } : segment;
  }

  async function describeAlias(
    alias: Alias,
    version: string | undefined,
    call: Call,
  ): Promise<ModelKnowledge | undefined> {
    const wanted = version ?? alias.stable.version;
    if (![alias.stable.version, alias.trial?.candidate.version].includes(wanted)) return undefined;
    const found = await inner.describe(alias.model, wanted, call);
    return found && { ...found, description: { ...found.description, name: alias.name }, alias: true };
  }

  function wantsShadow({ trial }: Alias, { sequence, inputs, segment }: InferenceRequest): boolean {
    if (trial?.mode !== "shadow" || sequence || shadows >= maxShadows) return false;
    if (segment.from !== startCut || segment.to !== endCut || segment.digest !== "") return false;
    return bytesOfInputs(inputs) <= maxShadowBytes && parts.draw() < trial.weightRatio;
  }

  /** Runs a shadow in the background. Never rejects. */
  function shadow(
    alias: Alias,
    request: InferenceRequest,
    call: Call,
    { outputs, account }: InferenceResponse,
  ): void {
    const meant = copied(outputs);
    const own = new AbortController();
    const { idempotencyKey: _done, ...rest } = call;
    const asked: Call = { ...rest, id: `${call.id}-shadow`, abort: own.signal };
    const { pass: _granted, ...again } = request;
    // The candidate may lack a variant of the stable version.
    const { variant } = request.segment;
    shadows++;
    void run(alias, "candidate", { ...again, segment: { ...again.segment, variant } }, asked)
      .then((response) => {
        // Formatted texts that differ in the last decimal digit are not a different answer.
        if (request.classes) return;
        const same = account.segment.variant === response.account.segment.variant ? 1 : 0.99;
        rollouts.compared(alias, call.id, difference(meant, response.outputs, toleranceFor(same)));
      })
      .catch(() => undefined)
      .finally(() => {
        shadows--;
      });
  }

  /** The segment of a version that a segment of an alias means. */
  function versioned(segment: Segment): Segment {
    const alias = rollouts.find(segment.model);
    const candidate = alias?.trial?.candidate;
    const planned = alias && candidate?.digest === segment.digest;
    return planned ? { ...segment, model: alias.model, ...candidate } : stable(segment);
  }

  const { admit, prepare, lacks, loaded, loadMs, inferStream, ready, known, models } = inner.capabilities;
  const capabilities: EndpointChanges["capabilities"] = {
    admit:
      admit && ((segment, call, leastAgreementRatio) => admit(stable(segment), call, leastAgreementRatio)),
    prepare: prepare && ((segment, call) => prepare(versioned(segment), call)),
    lacks: lacks && ((segment) => lacks(versioned(segment))),
    loaded: loaded && ((segment) => loaded(versioned(segment))),
    loadMs: loadMs && ((segment) => loadMs(versioned(segment))),
    inferStream:
      inferStream &&
      ((request, call) => {
        const alias = rollouts.find(request.segment.model);
        return alias ? streamAlias(alias, request, call) : answers(request, call);
      }),
    ready:
      ready &&
      ((model, version, call) => {
        const { model: meant, stable } = rollouts.find(model) ?? { model, stable: { version } };
        return ready(meant, version ?? stable.version, call);
      }),
    known: known && ((...asked) => (rollouts.find(asked[0]) ? undefined : known(...asked))),
    async models(call) {
      const listed = (await models?.(call)) ?? [];
      const own = rollouts.list().map(({ alias }): ModelListing => {
        const behind = listed.find(
          ({ name, version }) => name === alias.model && version === alias.stable.version,
        );
        return {
          name: alias.name,
          version: alias.stable.version,
          state: behind?.state ?? "UNAVAILABLE",
          reason: behind?.reason ?? "",
        };
      });
      return [...listed, ...own];
    },
  };
  return wrapEndpoint(inner, {
    capabilities,
    infer(request, call, progress) {
      const alias = rollouts.find(request.segment.model);
      return alias ? inferAlias(alias, request, call, progress) : inner.infer(request, call, progress);
    },
    describe(model, version, call) {
      const alias = rollouts.find(model);
      return alias ? describeAlias(alias, version, call) : inner.describe(model, version, call);
    },
    async offers(query, call) {
      // An alias may point elsewhere at the next request, so a caller that plans by offers gets those of the model itself.
      return rollouts.find(query.model) ? [] : inner.offers(query, call);
    },
  });
}
