import { LongshoreError } from "../../words/base/index.ts";
import { endCut, type Segment, segmentKey, startCut } from "../../words/model/index.ts";
import { modelPath, segmentPath } from "../protocol/index.ts";
import type { EndpointInfo, SegmentPattern } from "../endpoint/index.ts";

function matches(pattern: SegmentPattern, segment: Segment): boolean {
  return (
    pattern.model === segment.model &&
    (pattern.version === undefined || pattern.version === segment.version) &&
    (pattern.variant === undefined || pattern.variant === segment.variant) &&
    (pattern.from === undefined || pattern.from === segment.from) &&
    (pattern.to === undefined || pattern.to === segment.to)
  );
}

/** The name under which a server knows a model; undefined when the directory says that it does not serve it. */
export function nameThere(info: EndpointInfo, model: string): string | undefined {
  if (!info.serves) return model;
  const served = info.serves.find(({ segment }) => segment.model === model);
  return served && (served.as ?? model);
}

/**
 * The path to which a segment is posted. A server with the extension takes any segment; a plain one only whole models,
 * and segments that the operator gave it as models of their own (`serves[].as`).
 */
export function inferPath(info: EndpointInfo, segment: Segment): string {
  const served = info.serves?.find((entry) => matches(entry.segment, segment));
  if (info.serves && !served) {
    throw new LongshoreError("unknown-model", "resolve", `${info.id} does not serve ${segmentKey(segment)}`);
  }
  if (served?.as !== undefined) return `${modelPath({ model: served.as })}/infer`;
  const { model, version, variant, from, to } = segment;
  const whole = from === startCut && to === endCut;
  if (info.offers) {
    return whole
      ? `${modelPath({ model, version, variant })}/infer`
      : segmentPath({ model, version, variant }, from, to);
  }
  if (!whole) {
    throw new LongshoreError(
      "unknown-cut",
      "resolve",
      `${info.id} speaks only the plain protocol and runs whole models, not ${segmentKey(segment)}`,
    );
  }
  return `${modelPath(version === "" ? { model } : { model, version })}/infer`;
}
