import type { EndpointId } from "../../words/base/index.ts";
import {
  meanReading,
  readBelief,
  readBetween,
  readingOf,
  segmentMeanMs,
  serviceRatioAt,
  sizeCount,
  waitMsAt,
} from "../table/index.ts";
import type { Choice } from "./choices.ts";
import type { Group, Options } from "./options.ts";
import type { PlanInputs } from "./plan-inputs.ts";
import { paceScore, type Stages } from "../goal/index.ts";

/** Links are judged by their usual rate. Stalls dominate the mean of a belief, and a stream outlasts them. */
const usualReading = readingOf(0.5);

/**
 * Milliseconds of work per byte of a body at either end: out of the kernel, through HTTP, into tensors. It decides between cuts with equal
 * work whose crossings differ by megabytes. (Body of 4.9 MB: 6 to 8 ms on a server's main thread.)
 */
const handlingMsPerByte = 1.3e-6;
/**
 * Milliseconds of work per decoded byte at a server, besides decoding: each request needs fresh memory, which is collected later. An
 * unencoded body runs from the memory that it was read into. (3.2 MB: 5 ms of its collecting threads, and some of its main thread.)
 */
const decodedMsPerByte = 2.5e-6;

/** The stages that a candidate elsewhere usually occupies: work and bytes, without queues and link delays. */
export function stagesThere(
  { view, model }: PlanInputs,
  options: Options,
  group: Group,
  option: number,
  route: number,
): Stages {
  const { endpoints } = view;
  const { choice, cells, reply } = group;
  const endpoint = model.routes.endpoint[route] ?? 0;
  const rows = endpoints.count * sizeCount;
  const at = endpoint * sizeCount;
  // The time for no bytes is the delay of the link, which delays no other request.
  const moved = (beliefs: Float64Array, index: number, fraction: number): number =>
    Math.max(
      0,
      readBetween(beliefs, rows, at + index, fraction, usualReading) -
        readBelief(beliefs, rows, at, usualReading),
    );
  const row = route * cells.count + group.cell;
  const handledMs = ((options.sentBytes[option] ?? 0) + reply.bytes) * handlingMsPerByte;
  const isCoded = (options.codecMask[option] ?? 0) !== 0;
  const freshMs = isCoded ? (choice.bucket.rawBytes[group.from] ?? 0) * decodedMsPerByte : 0;
  const serviceMs = readBelief(cells.service, model.routes.count * cells.count, row, meanReading);
  return {
    deviceMs: (options.fixedMeanMs[option] ?? 0) - group.waitMs + handledMs * (choice.slowness || 1),
    upMs: moved(endpoints.up, options.upIndex[option] ?? 0, options.upFraction[option] ?? 0),
    thereMs:
      serviceMs * serviceRatioAt(endpoints, endpoint) +
      ((options.decodeMeanMs[option] ?? 0) + handledMs + freshMs) * (model.routes.slowness[route] ?? 1),
    downMs: moved(endpoints.down, reply.index, reply.fraction),
  };
}

/** The stages of a run of the whole request here. */
export function stagesHere(choice: Choice): Stages {
  const deviceMs = segmentMeanMs(choice.bucket, choice.from, choice.to) * choice.slowness;
  return { deviceMs, upMs: 0, thereMs: 0, downMs: 0 };
}

/** Score of the objective `throughput`; `endpoint` is the position of the endpoint, undefined here. */
export function throughputScore(
  { request, view }: PlanInputs,
  stages: Stages,
  endpoint: number | undefined,
): number {
  const { device, endpoints } = view;
  const id: EndpointId | undefined = endpoint === undefined ? undefined : endpoints.ids[endpoint];
  const ahead = request.traffic?.ahead(id) ?? nothing;
  const width = id === undefined ? 1 : (request.traffic?.width(id) ?? 1);
  const waitMs = endpoint === undefined ? 0 : waitMsAt(endpoints, endpoint);
  return paceScore(
    {
      ...stages,
      deviceMs: stages.deviceMs * (request.traffic?.load() ?? 1),
      thereMs: stages.thereMs / width,
    },
    {
      ...ahead,
      deviceMs: Math.max(ahead.deviceMs, device.queueMs),
      thereMs: Math.max(ahead.thereMs, waitMs / width),
    },
  );
}

const nothing: Stages = { deviceMs: 0, upMs: 0, thereMs: 0, downMs: 0 };
