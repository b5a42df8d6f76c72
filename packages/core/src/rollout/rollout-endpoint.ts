import { type Call, LongshoreError, type Reason } from "../base/index.ts";
import { difference, toleranceFor } from "../check/index.ts";
import {
  type Endpoint,
  type InferenceRequest,
  type InferenceResponse,
  type ModelKnowledge,
  type ModelListing,
  type Progress,
  through,
} from "../endpoint/index.ts";
import { endCut, startCut } from "../model/index.ts";
import { copied, type Tensor, type Tensors } from "../tensor/index.ts";
import type { Alias, Target } from "./alias.ts";
import type { Rollouts } from "./rollouts.ts";
import { speaksAgainst } from "./rollouts.ts";
import { type Side, sideOf } from "./side.ts";

/** What an endpoint with aliases is made of. */
export interface RolloutEndpointParts {
  readonly rollouts: Rollouts;
  readonly clock: { nowMs(): number };
  /** Shadows under way at once; more requests are not shadowed. Default 4. */
  readonly maxShadows?: number;
  /** Requests with more input have no shadow, in bytes; default 8 MiB. */
  readonly maxShadowBytes?: number;
  /** A number in 0..1, for the share of requests that have a shadow. */
  readonly draw: () => number;
}

/**
 * Puts aliases before an endpoint: a request for an alias becomes one for a version of its model, known by digest, so that
 * whatever parts it is run in are parts of the same. A candidate that fails is covered by the stable version. Shadows run
 * after the caller has its answer, as the same caller under the same rules, and nobody gets their answers.
 */
export function rolloutEndpoint(inner: Endpoint, parts: RolloutEndpointParts): Endpoint {
  const { rollouts, clock, maxShadows = 4, maxShadowBytes = 8 * 2 ** 20 } = parts;
  let shadows = 0;

  const targeted = (request: InferenceRequest, alias: Alias, target: Target): InferenceRequest => ({
    ...request,
    segment: { ...request.segment, model: alias.model, version: target.version, digest: target.digest },
  });

  /** Whoever holds a part of a version already, or names a version, gets that one. */
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

  async function run(
    alias: Alias,
    side: Side,
    request: InferenceRequest,
    call: Call,
    progress?: Progress,
  ): Promise<InferenceResponse> {
    const target = side === "candidate" && alias.trial ? alias.trial.candidate : alias.stable;
    const startedMs = clock.nowMs();
    let failed: Reason | undefined;
    try {
      const meant = targeted(request, alias, target);
      // What the door granted was for the stable version.
      const { pass: _granted, ...other } = meant;
      return await inner.infer(side === "candidate" ? other : meant, call, progress);
    } catch (thrown) {
      failed = LongshoreError.from(thrown, "execute", `running ${alias.name}`).reason;
      throw thrown;
    } finally {
      rollouts.ended(alias, side, clock.nowMs() - startedMs, failed);
    }
  }

  async function inferAlias(
    alias: Alias,
    request: InferenceRequest,
    call: Call,
    progress?: Progress,
  ): Promise<InferenceResponse> {
    const side = choose(alias, request, call);
    const shadowed = side === "stable" && wantsShadow(alias, request);
    const coverable = side === "candidate" && request.segment.digest === "" && !request.sequence;
    // What is still arriving can be read once, and two runs need it. Inputs are the caller's again once it has its answer,
    // and may be gone with the first run.
    const read = shadowed || coverable ? await readAll(request, call) : undefined;
    const held = read ? { ...request, inputs: read } : request;
    const kept = read ? { ...request, inputs: copied(read) } : request;
    try {
      const response = await run(alias, side, held, call, progress);
      if (shadowed) shadow(alias, kept, call, response);
      return response;
    } catch (thrown) {
      const error = LongshoreError.from(thrown, "execute", `running ${alias.name}`);
      if (
        !coverable ||
        !speaksAgainst(error.reason) ||
        call.abort.aborted ||
        clock.nowMs() >= call.deadlineMs
      )
        throw thrown;
      return inner.infer(targeted(kept, alias, alias.stable), call);
    }
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
    let bytes = 0;
    for (const input of inputs.values()) bytes += "read" in input ? input.byteLength : input.bytes.byteLength;
    return bytes <= maxShadowBytes && parts.draw() < trial.weightRatio;
  }

  /** Never rejects, and nobody waits for it. */
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
    // A variant of the stable version may be none of the candidate.
    const { variant } = request.segment;
    shadows++;
    void run(alias, "candidate", { ...again, segment: { ...again.segment, variant } }, asked)
      .then((response) => {
        const same = account.segment.variant === response.account.segment.variant ? 1 : 0.99;
        rollouts.compared(alias, call.id, difference(meant, response.outputs, toleranceFor(same)));
      })
      .catch(() => undefined)
      .finally(() => {
        shadows--;
      });
  }

  return {
    ...through(inner),
    infer(request, call, progress) {
      const alias = rollouts.find(request.segment.model);
      return alias ? inferAlias(alias, request, call, progress) : inner.infer(request, call, progress);
    },
    ...(inner.admit
      ? {
          admit(segment, call, leastAgreementRatio) {
            const alias = rollouts.find(segment.model);
            const meant = alias
              ? { ...segment, model: alias.model, version: alias.stable.version, digest: alias.stable.digest }
              : segment;
            return inner.admit?.(meant, call, leastAgreementRatio) ?? { [Symbol.dispose]: () => undefined };
          },
        }
      : {}),
    ...(inner.inferStream
      ? {
          async *inferStream(request, call) {
            const alias = rollouts.find(request.segment.model);
            const side = alias ? choose(alias, request, call) : "stable";
            const target = side === "candidate" ? (alias?.trial?.candidate ?? alias?.stable) : alias?.stable;
            const meant = alias && target ? targeted(request, alias, target) : request;
            yield* inner.inferStream?.(meant, call) ?? [];
          },
        }
      : {}),
    describe(model, version, call) {
      const alias = rollouts.find(model);
      return alias ? describeAlias(alias, version, call) : inner.describe(model, version, call);
    },
    ...(inner.ready
      ? {
          async ready(model, version, call) {
            const { model: meant, stable } = rollouts.find(model) ?? { model, stable: { version } };
            return inner.ready?.(meant, version ?? stable.version, call) ?? true;
          },
        }
      : {}),
    known: (...asked) => (rollouts.find(asked[0]) ? undefined : inner.known?.(...asked)),
    async offers(query, call) {
      // Who plans by offers is told of the model itself: an alias may lead elsewhere with the next request.
      return rollouts.find(query.model) ? [] : inner.offers(query, call);
    },
    async models(call) {
      const known = (await inner.models?.(call)) ?? [];
      const own = rollouts.list().map(({ alias }): ModelListing => {
        const behind = known.find(
          ({ name, version }) => name === alias.model && version === alias.stable.version,
        );
        return {
          name: alias.name,
          version: alias.stable.version,
          state: behind?.state ?? "UNAVAILABLE",
          reason: behind?.reason ?? "",
        };
      });
      return [...known, ...own];
    },
  };
}

async function readAll({ inputs }: InferenceRequest, call: Call): Promise<Tensors> {
  const tensors = new Map<string, Tensor>();
  for (const [name, input] of inputs) tensors.set(name, "read" in input ? await input.read(call) : input);
  return tensors;
}
