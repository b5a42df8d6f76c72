import {
  codecSet,
  type CodecSet,
  fp16Codec,
  int8ChannelCodec,
  int8ChannelDeflateCodec,
  int8Codec,
  int8DeflateCodec,
  rawCodec,
  uint8Codec,
} from "@longshore/core";
import type { QualityLadder } from "@longshore/graph";
import { jpegCodec, platformCompressor, webpCodec } from "@longshore/nodejs";

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

/** Every codec of this platform, by id. */
export function platformCodecs(): CodecSet {
  const compressor = platformCompressor();
  return codecSet(
    rawCodec,
    uint8Codec,
    fp16Codec,
    int8Codec,
    int8DeflateCodec({ compressor }),
    int8ChannelCodec,
    int8ChannelDeflateCodec({ compressor }),
    ...imageLadders().flatMap(({ codecs }) => codecs),
  );
}
