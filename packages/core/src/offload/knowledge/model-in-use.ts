import { type EndpointId, type LongshoreError, UnderWay } from "../../words/base/index.ts";
import type { DeviceSpeed } from "../../decide/estimate/index.ts";
import { type ModelReport, type KnownModel, knowModel } from "../models/index.ts";
import type { EndpointState } from "../endpoints/index.ts";

/** A model in use: the report of each endpoint about it, and the state of the polls. */
export interface ModelInUse {
  readonly model: string;
  readonly version: string | undefined;
  readonly reports: Map<EndpointId, ModelReport>;
  /** Errors of endpoints that did not answer the last poll. */
  readonly failures: Map<EndpointId, LongshoreError>;
  /** Endpoints that failed and will be polled again on a timer. */
  readonly due: Set<EndpointId>;
  local: ModelReport | undefined;
  known: KnownModel | undefined;
  usedAtMs: number;
  /** Whether its last use was to save energy: then nothing is polled between requests. */
  saving: boolean;
  /** Whether the last endpoint with the model has left, and may return with it. */
  left: boolean;
  polledAtMs: number;
  round: Promise<void> | undefined;
  /** Set while recent answers of endpoints wait to be merged. */
  digesting: Disposable | undefined;
  /** Whether the endpoint here answered the current round of polls. */
  localDone: Promise<void> | undefined;
  /**
   * Until when requests wait for other endpoints although the model can be run already. Infinity while nothing is known that can run it, -Infinity
   * once the first round of polls is over.
   */
  newUntilMs: number;
  /** Wakes requests that wait for answers of endpoints. */
  readonly news: News;
  /** Requests that wait for another answer of an endpoint that misses servers behind it. */
  readonly wanted: Map<EndpointId, number>;
  /** The first polls to endpoints that came when the model was in use, under way. */
  readonly coming: UnderWay;
}

/** Lets requests wait for the next news of a model. */
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

  /** Calls `wait` with a promise of the next news, and drops the promise afterwards. */
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

/** The most models that are kept. The least recently used one is dropped. */
const maxModels = 256;

/** The key of a model and version. */
export function versionKey(model: string, version: string | undefined): string {
  return version === undefined ? model : `${model}/${version}`;
}

/** The entry of the model, added if necessary. */
export function entryOf(
  entries: Map<string, ModelInUse>,
  model: string,
  version: string | undefined,
  nowMs: number,
): ModelInUse {
  const key = versionKey(model, version);
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

/** Whether no endpoint has answered yet. */
function askedModel(model: string, version: string | undefined, nowMs: number): ModelInUse {
  return {
    model,
    version,
    reports: new Map(),
    failures: new Map(),
    due: new Set(),
    local: undefined,
    known: undefined,
    usedAtMs: nowMs,
    saving: false,
    left: false,
    polledAtMs: -Infinity,
    round: undefined,
    digesting: undefined,
    localDone: undefined,
    newUntilMs: Infinity,
    news: new News(),
    wanted: new Map(),
    coming: new UnderWay(),
  };
}

/** Merges the answers of the endpoints that are still there. */
export function mergeReports(
  entry: ModelInUse,
  endpoints: ReadonlyMap<EndpointId, Pick<EndpointState, "endpoint">>,
  device: DeviceSpeed,
  nowMs: number,
): void {
  for (const [id, heard] of entry.reports) {
    // The endpoint has left, or was dialled again and may be another one.
    if (endpoints.get(id)?.endpoint === heard.endpoint) continue;
    entry.left ||= holds(heard);
    entry.reports.delete(id);
  }
  if ([...entry.reports.values()].some(holds)) entry.left = false;
  entry.known = knowModel(entry.local, [...entry.reports.values()], entry.known, device, nowMs, entry);
}

/** The knowledge of the model. Undefined if every endpoint that it came from has left; then it is learned again. */
export function validKnowledge(
  entry: ModelInUse | undefined,
  endpoints: ReadonlyMap<EndpointId, Pick<EndpointState, "endpoint">>,
): KnownModel | undefined {
  if (!entry?.known || entry.known.here) return entry?.known;
  for (const [id, heard] of entry.reports) {
    if (holds(heard) && endpoints.get(id)?.endpoint === heard.endpoint) return entry.known;
  }
  return endpoints.size > 0 ? undefined : entry.known;
}

function holds({ knowledge, offers }: ModelReport): boolean {
  return knowledge !== undefined || offers.length > 0;
}

/** The current knowledge of the same version and content, once new endpoints have answered; undefined if nothing changed. */
export async function newerOf(
  entries: Iterable<ModelInUse>,
  known: KnownModel,
  wait: (done: Promise<void>) => Promise<void>,
): Promise<KnownModel | undefined> {
  const { name, version, digest } = known.description;
  // The same content under another name or version may have other rules.
  const same = ({ known: one }: ModelInUse): boolean =>
    one?.description.name === name &&
    one.description.version === version &&
    one.description.digest === digest;
  const asked = [...entries].filter(same);
  await wait(Promise.all(asked.map(({ coming }) => coming.over())).then(() => undefined));
  return asked.find((entry) => entry.known !== known && same(entry))?.known;
}
