import { codecSet, type CodecSet, fp16Codec, int8Codec, rawCodec, uint8Codec } from "@longshore/core";
import { jpegCodec } from "@longshore/nodejs";

/** JPEG qualities that are offered and measured; the planner picks among them by measured agreement. */
export const jpegQualities: readonly number[] = [75, 85, 95];

/** Every codec of this platform, by id. */
export function platformCodecs(): CodecSet {
  return codecSet(
    rawCodec,
    uint8Codec,
    fp16Codec,
    int8Codec,
    ...jpegQualities.map((quality) => jpegCodec(quality)),
  );
}
