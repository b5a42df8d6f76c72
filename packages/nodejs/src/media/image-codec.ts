import {
  bytesElements,
  bytesTensor,
  type Codec,
  type Encoded,
  LongshoreError,
  type Tensor,
} from "@longshore/core";
import { encodedAs, codingMismatch, splitElements, statedCount } from "@longshore/core/internal";
import { imageFormat, openImage, openPixels, written } from "./sharp-image.ts";

/** The longest side that each format can hold. */
const longestSide = { jpeg: 65_535, webp: 16_383 } as const;
type Format = keyof typeof longestSide;

const defaultMaxBytes = 256 * 2 ** 20;

interface Size {
  readonly height: number;
  readonly width: number;
}

async function fileOf(tensor: Tensor, format: Format, quality: number): Promise<Uint8Array> {
  const [height = 0, width = 0] = tensor.spec.shape;
  if (height * width === 0) return new Uint8Array(0);
  if (Math.max(height, width) > longestSide[format]) {
    throw new LongshoreError(
      "unsupported",
      "encode",
      `${tensor.spec.name} is ${height} x ${width}; ${format} holds sides of at most ${longestSide[format]}`,
    );
  }
  return written(openPixels(tensor.bytes, height, width, 3), format, quality).toBuffer();
}

async function pixelsInto(
  encoded: Encoded,
  file: Uint8Array,
  { height, width }: Size,
  format: Format,
  out: Uint8Array,
): Promise<void> {
  if (height * width === 0 && file.byteLength === 0) return;
  if (height * width === 0 || imageFormat(file) !== format)
    throw codingMismatch(encoded, `it is no ${format} file`);
  const { data, info } = await openImage(file, height * width)
    .toColourspace("srgb")
    .removeAlpha()
    .raw({ depth: "uchar" })
    .toBuffer({ resolveWithObject: true })
    .catch((thrown: unknown) => {
      throw codingMismatch(
        encoded,
        `its ${format} file is broken or not ${height} x ${width}: ${String(thrown)}`,
      );
    });
  if (info.height !== height || info.width !== width || data.byteLength !== out.byteLength) {
    throw codingMismatch(
      encoded,
      `its file is ${info.height} x ${info.width} where ${height} x ${width} is stated`,
    );
  }
  out.set(data);
}

/** The sizes that spec and rows state, after checking them against each other and against the limit. */
function statedSizes(encoded: Encoded, maxBytes: number): readonly Size[] {
  const bytes = statedCount(encoded);
  if (bytes > maxBytes) {
    throw new LongshoreError(
      "body-too-large",
      "decode",
      `${encoded.spec.name} would become ${bytes} bytes of pixels; at most ${maxBytes} are accepted`,
    );
  }
  const { spec, rows } = encoded;
  const size = (height = 0, width = 0): Size => ({ height, width });
  if (spec.shape.length === 3) return [size(spec.shape[0], spec.shape[1])];
  if (!rows) throw codingMismatch(encoded, "the shapes of its elements are missing");
  return Array.from({ length: rows.length / 3 }, (_, index) => size(rows[index * 3], rows[index * 3 + 1]));
}

function filesOf(encoded: Encoded, count: number): readonly Uint8Array[] {
  if (encoded.spec.shape.length === 3) return [encoded.bytes];
  return bytesElements({
    spec: { name: encoded.spec.name, datatype: "BYTES", shape: [count] },
    bytes: encoded.bytes,
  });
}

/**
 * Colour images, UINT8 [h, w, 3] as one file, or ragged UINT8 [n, -1, -1, 3] as one file for each element in BYTES layout. The
 * decoded image has the stated size or is refused: `body-mismatch`, before more than that is decoded. At most `maxBytes` of
 * pixels (256 MiB, `body-too-large`). An image without pixels is a file of no bytes.
 */
function imageCodec(id: string, format: Format, quality: number, maxBytes: number): Codec {
  if (!Number.isInteger(quality) || quality < 1 || quality > 100) {
    throw new LongshoreError(
      "invalid-configuration",
      "resolve",
      `codec ${format}: quality is ${quality}; allowed is a whole number from 1 to 100`,
    );
  }
  return {
    id,
    lossless: false,
    accepts: ({ datatype, shape, ragged }) =>
      datatype === "UINT8" &&
      shape.at(-1) === 3 &&
      (shape.length === 3 || (shape.length === 4 && ragged === true)),
    async encode(tensor) {
      if (tensor.spec.shape.length === 3) {
        return encodedAs(id, tensor, await fileOf(tensor, format, quality), {});
      }
      const files = await Promise.all(splitElements(tensor).map((one) => fileOf(one, format, quality)));
      return encodedAs(id, tensor, bytesTensor(tensor.spec.name, files).bytes, {});
    },
    async decode(encoded) {
      const sizes = statedSizes(encoded, maxBytes);
      const files = filesOf(encoded, sizes.length);
      const bytes = new Uint8Array(sizes.reduce((sum, { height, width }) => sum + height * width * 3, 0));
      let at = 0;
      await Promise.all(
        sizes.map((size, index) => {
          const part = bytes.subarray(at, (at += size.height * size.width * 3));
          return pixelsInto(encoded, files[index] ?? new Uint8Array(0), size, format, part);
        }),
      );
      const { spec, rows } = encoded;
      return rows ? { spec, bytes, rows } : { spec, bytes };
    },
  };
}

/**
 * Colour images as JPEG of the given quality (1 to 100), chroma halved. Id `jpeg-<quality>`. See `imageCodec` for limits.
 *
 * @example
 * ```ts
 * import { jpegCodec } from "@longshore/nodejs";
 *
 * console.log(jpegCodec(85).id); // jpeg-85
 * ```
 */
export function jpegCodec(quality: number, options: { readonly maxBytes?: number } = {}): Codec {
  return imageCodec(`jpeg-${quality}`, "jpeg", quality, options.maxBytes ?? defaultMaxBytes);
}

/**
 * Colour images as WebP of the given quality (1 to 100): smaller than JPEG and about four times slower. Id `webp-<quality>`.
 *
 * @example
 * ```ts
 * import { webpCodec } from "@longshore/nodejs";
 *
 * console.log(webpCodec(75).id); // webp-75
 * ```
 */
export function webpCodec(quality: number, options: { readonly maxBytes?: number } = {}): Codec {
  return imageCodec(`webp-${quality}`, "webp", quality, options.maxBytes ?? defaultMaxBytes);
}
