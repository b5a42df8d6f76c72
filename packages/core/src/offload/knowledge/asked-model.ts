import { type EndpointId, type LongshoreError, UnderWay } from "../../words/base/index.ts";
import type { DeviceSpeed } from "../../decide/estimate/index.ts";
import { type Heard, type KnownModel, knowModel } from "../models/index.ts";
import type { EndpointState } from "../endpoints/index.ts";

/** A model that was asked for: who said what of it, and how the questions stand. */
export interface AskedModel {
  readonly model: string;
  readonly version: string | undefined;
  readonly heard: Map<EndpointId, Heard>;
  /** Why endpoints did not say what they have when they were asked last. */
  readonly unsaid: Map<EndpointId, LongshoreError>;
  /** Endpoints that failed and will be asked again by themselves. */
  readonly due: Set<EndpointId>;
  local: Heard | undefined;
  known: KnownModel | undefined;
  usedAtMs: number;
  /** Its last use was to save energy: nobody is asked between requests. */
  saving: boolean;
  /** The last endpoint that had it has left, and may come back with it. */
  left: boolean;
  askedAtMs: number;
  asking: Promise<void> | undefined;
  /** What endpoints said lately will be put together. */
  digesting: Disposable | undefined;
  /** The endpoint here answered the round of questions under way. */
  localDone: Promise<void> | undefined;
  /**
   * Until when requests wait for other endpoints although the model can be run already. Infinity while nothing is known that can run it, -Infinity
   * once the first round of questions is over.
   */
  newUntilMs: number;
  /** Wakes requests that wait for what endpoints say. */
  readonly news: News;
  /** The first questions to endpoints that came when the model was in use, under way. */
  readonly coming: UnderWay;
}

/** Lets requests wait for the next thing that is heard of a model. */
export class News {
  readonly #wakes = new Set<() => void>();

  /** Requests that wait. */
  get waiting(): number {
    return this.#wakes.size;
  }

  /** Wakes all requests that wait. */
  tell(): void {
    const wakes = [...this.#wakes];
    this.#wakes.clear();
    for (const wake of wakes) wake();
  }

  /** Gives `wait` a promise of the next news, and forgets it when `wait` is over. */
  async next(wait: (heard: Promise<void>) => Promise<void>): Promise<void> {
    let wake: (() => void) | undefined;
    const heard = new Promise<void>((resolve) => {
      wake = resolve;
      this.#wakes.add(resolve);
    });
    try {
      await wait(heard);
    } finally {
      if (wake) this.#wakes.delete(wake);
    }
  }
}

/** At most so many models are kept in mind; the one that was used least recently is forgotten. */
const maxModels = 256;

/** What a model is found by among those that were asked for. */
export function keyOf(model: string, version: string | undefined): string {
  return version === undefined ? model : `${model}/${version}`;
}

/** The model among those that were asked for; one that was not is added. */
export function entryOf(
  entries: Map<string, AskedModel>,
  model: string,
  version: string | undefined,
  nowMs: number,
): AskedModel {
  const key = keyOf(model, version);
  const found = entries.get(key);
  if (found) return found;
  const made = askedModel(model, version, nowMs);
  entries.set(key, made);
  if (entries.size > maxModels) {
    const [oldest] = [...entries].sort(([, a], [, b]) => a.usedAtMs - b.usedAtMs);
    if (oldest) entries.delete(oldest[0]);
  }
  return made;
}

/** Nothing was heard yet. */
function askedModel(model: string, version: string | undefined, nowMs: number): AskedModel {
  return {
    model,
    version,
    heard: new Map(),
    unsaid: new Map(),
    due: new Set(),
    local: undefined,
    known: undefined,
    usedAtMs: nowMs,
    saving: false,
    left: false,
    askedAtMs: -Infinity,
    asking: undefined,
    digesting: undefined,
    localDone: undefined,
    newUntilMs: Infinity,
    news: new News(),
    coming: new UnderWay(),
  };
}

/** Puts together what the endpoints said that are still there. */
export function putTogether(
  entry: AskedModel,
  endpoints: ReadonlyMap<EndpointId, Pick<EndpointState, "endpoint">>,
  device: DeviceSpeed,
  nowMs: number,
): void {
  for (const [id, heard] of entry.heard) {
    // It is gone, or was dialled again and may be another.
    if (endpoints.get(id)?.endpoint === heard.endpoint) continue;
    entry.left ||= holds(heard);
    entry.heard.delete(id);
  }
  if ([...entry.heard.values()].some(holds)) entry.left = false;
  entry.known = knowModel(entry.local, [...entry.heard.values()], entry.known, device, nowMs, entry);
}

/** What is known, unless every endpoint that it was learned from is gone: then it is learned again. */
export function stillKnown(
  entry: AskedModel | undefined,
  endpoints: ReadonlyMap<EndpointId, Pick<EndpointState, "endpoint">>,
): KnownModel | undefined {
  if (!entry?.known || entry.known.here) return entry?.known;
  for (const [id, heard] of entry.heard) {
    if (holds(heard) && endpoints.get(id)?.endpoint === heard.endpoint) return entry.known;
  }
  return endpoints.size > 0 ? undefined : entry.known;
}

function holds({ knowledge, offers }: Heard): boolean {
  return knowledge !== undefined || offers.length > 0;
}

/** What is known of the same version and content now, once those that have just come have said what they have; undefined when nothing else. */
export async function newerOf(
  entries: Iterable<AskedModel>,
  known: KnownModel,
  wait: (done: Promise<void>) => Promise<void>,
): Promise<KnownModel | undefined> {
  const { name, version, digest } = known.description;
  // The same content under another name, or of another version, may be ruled by others.
  const same = ({ known: one }: AskedModel): boolean =>
    one?.description.name === name &&
    one.description.version === version &&
    one.description.digest === digest;
  const asked = [...entries].filter(same);
  await wait(Promise.all(asked.map(({ coming }) => coming.over())).then(() => undefined));
  return asked.find((entry) => entry.known !== known && same(entry))?.known;
}
