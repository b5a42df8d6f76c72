import type { EndpointId } from "../base/index.ts";
import {
  meanReading,
  readBelief,
  readBetween,
  segmentMeanMs,
  serviceRatioAt,
  sizeCount,
  waitMsAt,
} from "../table/index.ts";
import type { Choice } from "./choices.ts";
import type { Group, Options } from "./options.ts";
import type { Question } from "./question.ts";
import { paceScore, type Stages } from "./score/pace.ts";

/** What a candidate elsewhere keeps busy, by means: work and bytes, without waits, delays of links and queues. */
export function stagesThere(
  { view, model }: Question,
  options: Options,
  group: Group,
  option: number,
  route: number,
): Stages {
  const { device, endpoints } = view;
  const { choice, cells, reply } = group;
  const place = model.routes.endpoint[route] ?? 0;
  const waits = (choice.from < group.from ? 1 : 0) + (group.to < choice.to ? 1 : 0);
  const rows = endpoints.count * sizeCount;
  const at = place * sizeCount;
  // What nothing would take is the delay of the link, which keeps nobody else waiting.
  const moved = (beliefs: Float64Array, index: number, fraction: number): number =>
    Math.max(
      0,
      readBetween(beliefs, rows, at + index, fraction, meanReading) -
        readBelief(beliefs, rows, at, meanReading),
    );
  const row = route * cells.count + group.cell;
  const serviceMs = readBelief(cells.service, model.routes.count * cells.count, row, meanReading);
  return {
    deviceMs: (options.fixedMeanMs[option] ?? 0) - waits * device.queueMs,
    upMs: moved(endpoints.up, options.upIndex[option] ?? 0, options.upFraction[option] ?? 0),
    thereMs:
      serviceMs * serviceRatioAt(endpoints, place) +
      (options.decodeMs[option] ?? 0) * (model.routes.slowness[route] ?? 1),
    downMs: moved(endpoints.down, reply.index, reply.fraction),
  };
}

/** What running everything here keeps busy. */
export function stagesHere(choice: Choice): Stages {
  const deviceMs = segmentMeanMs(choice.bucket, choice.from, choice.to) * choice.slowness;
  return { deviceMs, upMs: 0, thereMs: 0, downMs: 0 };
}

/** Score of the objective `throughput`; `place` is the position of the endpoint, undefined here. */
export function paceOf({ request, view }: Question, stages: Stages, place: number | undefined): number {
  const { device, endpoints } = view;
  const id: EndpointId | undefined = place === undefined ? undefined : endpoints.ids[place];
  const ahead = request.traffic?.ahead(id) ?? nothing;
  const width = id === undefined ? 1 : (request.traffic?.width(id) ?? 1);
  const waitMs = place === undefined ? 0 : waitMsAt(endpoints, place);
  return paceScore(
    { ...stages, thereMs: stages.thereMs / width },
    {
      ...ahead,
      deviceMs: Math.max(ahead.deviceMs, device.queueMs),
      thereMs: Math.max(ahead.thereMs, waitMs / width),
    },
  );
}

const nothing: Stages = { deviceMs: 0, upMs: 0, thereMs: 0, downMs: 0 };
