import { type Call, LongshoreError, type WireResponse } from "@longshore/core";
import { headerLengthOf, writeAnswerFrame, writeWireError } from "@longshore/core/internal";

/** Replies as frames of one body. A failure after the first is a frame, too: the status has gone out. */
export async function* framesOf(
  replies: AsyncIterable<WireResponse>,
  { id, abort }: Call,
): AsyncIterable<Uint8Array> {
  try {
    for await (const { headers, body } of replies) {
      if (body.kind === "parts") yield writeAnswerFrame("answer", body.parts, headerLengthOf(headers));
    }
  } catch (thrown) {
    if (abort.aborted) throw thrown;
    const error = LongshoreError.from(thrown, "execute", "answering the request");
    yield writeAnswerFrame("error", [writeWireError(error, id).bytes]);
    return;
  }
  yield writeAnswerFrame("end");
}
