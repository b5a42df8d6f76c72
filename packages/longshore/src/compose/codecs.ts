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
import type { QualityLadder } from "@longshore/graph";
import { jpegCodec, webpCodec } from "@longshore/nodejs";

/**
 * Qualities of JPEG and WebP that are offered, from the coarsest. Which of them a model bears is searched when it is profiled;
 * WebP is smaller at equal agreement and slower to make, which pays on thin uplinks.
 */
const imageQualities: readonly number[] = [20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95];

/** The codecs of pictures, each in all of its qualities. */
export function imageLadders(): readonly QualityLadder[] {
  return [
    { codecs: imageQualities.map((quality) => jpegCodec(quality)) },
    { codecs: imageQualities.map((quality) => webpCodec(quality)) },
  ];
}

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
    ...imageLadders().flatMap(({ codecs }) => codecs),
  );
}
