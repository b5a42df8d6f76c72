import { LongshoreError, type WireResponse } from "@longshore/core";
import { type ModelAddress } from "@longshore/core/internal";
import { findModel } from "./find-model.ts";
import { arrivedCall, checkPlannedDigest } from "./infer/index.ts";
import type { IncomingRequest, InferenceApi } from "./parts.ts";
import { jsonReply } from "./replies.ts";

const longestId = 256;

/**
 * `GET v2/models/{m}[/versions/{v}]/sequence?id=ID`: the last step of a sequence of the sender's tenant that was made here, for a gateway that
 * has lost its memory of the sequences that pass through it. A reply without `step` means that nothing is known of the sequence.
 */
export async function sequenceStanding(
  api: InferenceApi,
  route: ModelAddress,
  asked: IncomingRequest,
): Promise<WireResponse> {
  const ids = asked.query.getAll("id");
  const [id = ""] = ids;
  if (ids.length !== 1 || id.length === 0 || id.length > longestId) {
    const what = `the query's 'id' must name one sequence with 1 to ${longestId} characters`;
    throw new LongshoreError("invalid-input", "admission", what);
  }
  const tell = api.endpoint.capabilities.sequence;
  if (!tell) {
    const what = "this server cannot tell what it knows of a sequence";
    throw new LongshoreError("unsupported", "admission", what);
  }
  const call = arrivedCall(api, asked);
  const found = await findModel(api, route.model, route.version, call);
  checkPlannedDigest(asked, found);
  const { name: model, version, digest } = found.description;
  return jsonReply({ schemaVersion: 1, ...(await tell({ model, version, digest, id }, call)) });
}
