import {
  type Call,
  type Clock,
  type EndpointId,
  fanOut,
  LongshoreError,
  ownCall,
} from "../../words/base/index.ts";
import type { Endpoint, EndpointInfo } from "../../wire/endpoint/index.ts";
import type { Segment } from "../../words/model/index.ts";
import { brokenRule } from "../../decide/plan/index.ts";
import type { KnownModel } from "../models/index.ts";
import { type EndpointState, endpointFor, type EndpointStates } from "../endpoints/index.ts";

/** Endpoints that load at a time. */
const mostAtOnce = 16;

/** Of an offloader. */
interface Everywhere {
  readonly self: EndpointId;
  readonly local: Endpoint | undefined;
  readonly endpoints: Pick<EndpointStates, "all">;
  readonly knowledge: {
    learn(model: string, version: string | undefined, call: Call, question: boolean): Promise<KnownModel>;
  };
  readonly clock: Clock;
}

/** Where to load a segment. */
interface PrepareWhere {
  /** Endpoints that load it; default: all. */
  readonly allowed?: (info: EndpointInfo) => boolean;
  /** The variant to load; default: the first one here, and each offered one elsewhere. */
  readonly variant?: string;
}

/**
 * Loads a segment here. Without a variant, also at each endpoint that serves the model and that the rules of the call allow, in the
 * variants that it offers. A caller that names a variant plans for the endpoints itself: it gets `unsupported` if nothing can be loaded here.
 * Throws the first error if no endpoint could load the segment. Requests find out about the others. An endpoint that cannot load in advance
 * is no failure: its first request loads the segment.
 */
export async function prepareAll(
  { self, local, endpoints, knowledge, clock }: Everywhere,
  segment: Segment,
  call: Call,
  { allowed = () => true, variant }: PrepareWhere = {},
): Promise<void> {
  if (segment.variant !== "") {
    const load = local?.capabilities.prepare;
    if (load) return load(segment, call);
    const what = `${self} loads nothing itself; the first request that needs ${segment.model} loads it elsewhere`;
    throw new LongshoreError("unsupported", "resolve", what);
  }
  const known = await knowledge.learn(segment.model, segment.version, call, true);
  const nowMs = clock.nowMs();
  const others = [...known.offersBy.keys()].flatMap((id) => endpointFor(id, known, endpoints.all) ?? []);
  const well = others.filter(
    ({ health, endpoint: { info } }) =>
      health.unavailable(nowMs) === undefined &&
      !call.path.includes(info.id) &&
      allowed(info) &&
      mayPrepare(info, call, false),
  );
  const works = [
    ...(local && known.here && allowed(local.info) && mayPrepare(local.info, call, true)
      ? [(own: Call) => local.capabilities.prepare?.({ ...segment, variant: variant ?? "" }, own)]
      : []),
    ...well.map((endpointState) => (own: Call) => prepareAt(endpointState, known, segment, own, variant)),
  ];
  const failures: unknown[] = [];
  const asking = Object.assign(ownCall(call), { path: [...call.path, self] });
  await fanOut(works.length, mostAtOnce, asking, async (at, own) => {
    await works[at]?.(own)?.catch((thrown: unknown) => {
      if (LongshoreError.from(thrown, "resolve", "loading a model").reason !== "unsupported")
        failures.push(thrown);
    });
  });
  if (works.length === 0)
    throw new LongshoreError(
      "no-endpoint",
      "resolve",
      `no endpoint that has ${segment.model} is well and may run it`,
    );
  if (failures.length === works.length) throw failures[0];
}

/** Whether the rules of a call allow an endpoint to run what it would load. The zone `device` belongs to this machine only. */
function mayPrepare({ id, zone, trust, sameDevice }: EndpointInfo, { rules }: Call, own: boolean): boolean {
  return (
    (own || sameDevice || zone !== "device") && brokenRule(rules, { id, zones: [zone], trust }) === undefined
  );
}

async function prepareAt(
  { endpoint }: EndpointState,
  { description, offersBy }: KnownModel,
  segment: Segment,
  call: Call,
  only: string | undefined,
): Promise<void> {
  const offered = (offersBy.get(endpoint.info.id) ?? [])
    .map((offer) => offer.segment)
    .filter(
      ({ digest, from, to, variant }) =>
        digest === description.digest &&
        from === segment.from &&
        to === segment.to &&
        (only === undefined || variant === only),
    );
  const variants = new Set(offered.map(({ variant }) => variant));
  for (const variant of variants) await endpoint.capabilities.prepare?.({ ...segment, variant }, call);
}
