import { type Call, type InferenceRequest, type InferenceResponse, LongshoreError } from "@longshore/core";
import { grantRequest } from "./grant-request.ts";
import { runInputs } from "./check-inputs.ts";
import { runAnswers, runSegment } from "../run/index.ts";
import { checkDigest, resolvedSegment, responseOf, segmentRun, type ServeParts } from "./serve-request.ts";

/** Resolves, admits and runs one request for a model that gives several answers. The call ends at its deadline. */
export async function* serveAnswers(
  parts: ServeParts,
  request: InferenceRequest,
  call: Call,
): AsyncIterable<InferenceResponse> {
  const { segment } = request;
  using version = await parts.life.acquire(segment.model, segment.version, call);
  const { loaded } = version;
  checkDigest(segment, loaded);
  using granted = await grantRequest(parts, loaded, version.owner, request, call);
  const { plan, leases } = granted;
  if (request.sequence && (plan.stateful.length > 0 || plan.sequential.length > 0)) {
    throw new LongshoreError(
      "unsupported",
      "admission",
      `model ${segment.model} gives several answers to a request, so its requests cannot be steps of a sequence`,
    );
  }
  const inputs = await runInputs(plan, request.inputs, call);
  const run = segmentRun(parts, granted, inputs, new Map(), undefined, call);
  const resolved = resolvedSegment(segment, loaded, granted);
  using entered = await parts.pipelines.enter(plan, call);
  const { answersAt } = plan;
  if (answersAt === undefined) {
    // The wanted outputs do not come from the step where answers part, or the configuration alone says that there are any.
    yield responseOf(parts, resolved, await runSegment(run), leases);
    return;
  }
  for await (const result of runAnswers(run, answersAt)) {
    entered.held(result.peakBytes);
    yield responseOf(parts, resolved, result, leases);
  }
}
