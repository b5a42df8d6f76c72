import { setImmediate as nextTurn } from "node:timers/promises";
import {
  codecSet,
  type CodecSet,
  fp16Codec,
  int8ChannelCodec,
  int8ChannelEntropyCodec,
  int8Codec,
  int8EntropyCodec,
  rawCodec,
  uint8Codec,
} from "@longshore/core";
import { jpegCodec, webpCodec } from "@longshore/nodejs";

/** JPEG qualities that are offered and measured; the planner picks among them by measured agreement. */
export const jpegQualities: readonly number[] = [75, 85, 95];
/** WebP qualities likewise: smaller at equal agreement and slower to make, which pays on thin uplinks. */
export const webpQualities: readonly number[] = [75, 90];

/** Every codec of this platform, by id. Large tensors let others have their turn while they are coded. */
export function platformCodecs(): CodecSet {
  const breathe = (): Promise<void> => nextTurn();
  return codecSet(
    rawCodec,
    uint8Codec,
    fp16Codec,
    int8Codec,
    int8EntropyCodec({ breathe }),
    int8ChannelCodec,
    int8ChannelEntropyCodec({ breathe }),
    ...jpegQualities.map((quality) => jpegCodec(quality)),
    ...webpQualities.map((quality) => webpCodec(quality)),
  );
}
