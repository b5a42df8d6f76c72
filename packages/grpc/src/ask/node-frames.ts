import type { Http2Stream } from "node:http2";
import { type FrameOptions, frameSource, type FrameSource } from "../frame/index.ts";

/** The messages of a stream that Node.js frames. */
export function nodeFrames(stream: Http2Stream, options: FrameOptions): FrameSource {
  const source = frameSource(
    {
      pause: () => void stream.pause(),
      resume: () => void stream.resume(),
      get paused() {
        return stream.isPaused();
      },
    },
    options,
  );
  stream.on("data", source.came).on("end", source.end).on("close", source.gone).on("aborted", source.gone);
  return {
    ...source,
    [Symbol.dispose]() {
      stream
        .off("data", source.came)
        .off("end", source.end)
        .off("close", source.gone)
        .off("aborted", source.gone);
      source[Symbol.dispose]();
    },
  };
}
