import type { ServedModel } from "@longshore/conformance";
import { inputValues } from "./serve-models.ts";

/** How a request for a model travels. */
export type Wire = "http" | "json" | "form" | "grpc";

/** One request, the same for every time that it is sent. */
export interface BenchRequest {
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: Uint8Array;
}

const text = new TextEncoder();

function joined(...parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.byteLength;
  }
  return whole;
}

function varint(value: number): number[] {
  const bytes: number[] = [];
  let rest = value;
  while (rest > 127) {
    bytes.push((rest % 128) | 128);
    rest = Math.floor(rest / 128);
  }
  return [...bytes, rest];
}

const field = (number: number, bytes: Uint8Array): Uint8Array =>
  joined(Uint8Array.from([number * 8 + 2, ...varint(bytes.byteLength)]), bytes);

/** `ModelInferRequest` with its input raw, after gRPC's prefix of five bytes. */
function grpcBody({ name, input }: ServedModel, bytes: Uint8Array): Uint8Array {
  const message = joined(
    field(1, text.encode(name)),
    field(
      5,
      joined(
        field(1, text.encode(input.name)),
        field(2, text.encode(input.datatype)),
        field(3, Uint8Array.from(input.shape.flatMap(varint))),
      ),
    ),
    field(7, bytes),
  );
  const prefix = new Uint8Array(5);
  new DataView(prefix.buffer).setUint32(1, message.byteLength);
  return joined(prefix, message);
}

/** The request in one of the forms: OIP with binary data, OIP in JSON, a form with a file, or gRPC with raw input. */
export function benchRequest(model: ServedModel, wire: Wire): BenchRequest {
  const { name, input, output } = model;
  const values = inputValues(model);
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  const { datatype, shape } = input;
  const path = `/v2/models/${name}/infer`;
  switch (wire) {
    case "http": {
      const head = text.encode(
        JSON.stringify({
          inputs: [{ name: input.name, datatype, shape, parameters: { binary_data_size: bytes.byteLength } }],
          outputs: [{ name: output.name, parameters: { binary_data: true } }],
        }),
      );
      return {
        path,
        headers: {
          "content-type": "application/octet-stream",
          "inference-header-content-length": `${head.byteLength}`,
        },
        body: joined(head, bytes),
      };
    }
    case "json": {
      const data = Array.from(values, (value) => Math.round(value * 100) / 100);
      const body = text.encode(JSON.stringify({ inputs: [{ name: input.name, datatype, shape, data }] }));
      return { path, headers: { "content-type": "application/json" }, body };
    }
    case "form": {
      const boundary = "longshore-bench-boundary";
      const head = `--${boundary}\r\ncontent-disposition: form-data; name="tensor"; filename="tensor"\r\ncontent-type: application/octet-stream\r\n\r\n`;
      return {
        path: "/predict",
        headers: { "content-type": `multipart/form-data; boundary=${boundary}` },
        body: joined(text.encode(head), bytes, text.encode(`\r\n--${boundary}--\r\n`)),
      };
    }
    case "grpc":
      return {
        path: "/inference.GRPCInferenceService/ModelInfer",
        headers: { "content-type": "application/grpc", te: "trailers" },
        body: grpcBody(model, bytes),
      };
  }
}
