/** The messages of this bench: 1 kB there and 200 bytes back, over HTTP/1.1 and as messages of `ModelInfer`. */

export const requestBytes = 1000;
export const answerBytes = 200;

/** A field of a protobuf message whose bytes have a length (wire type 2). */
function field(number: number, bytes: Uint8Array): Buffer {
  const length =
    bytes.byteLength < 128 ? [bytes.byteLength] : [(bytes.byteLength & 127) | 128, bytes.byteLength >> 7];
  return Buffer.concat([Uint8Array.of((number << 3) | 2, ...length), bytes]);
}

function tensor(byteLength: number): Buffer {
  const values = byteLength / 4;
  const shape = values < 128 ? [values] : [(values & 127) | 128, values >> 7];
  return Buffer.concat([
    field(1, Buffer.from("x")),
    field(2, Buffer.from("FP32")),
    field(3, Uint8Array.from(shape)),
  ]);
}

/** A message of gRPC behind its prefix: not compressed, then its length. */
function framed(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5);
  prefix.writeUInt32BE(message.byteLength, 1);
  return Buffer.concat([prefix, message]);
}

/** A `ModelInferRequest` of the model `m`. */
export const grpcRequest: Buffer = framed(
  Buffer.concat([
    field(1, Buffer.from("m")),
    field(5, tensor(requestBytes)),
    field(7, Buffer.alloc(requestBytes)),
  ]),
);

/** The `ModelInferResponse`. */
export const grpcAnswer: Buffer = framed(
  Buffer.concat([
    field(1, Buffer.from("m")),
    field(5, tensor(answerBytes)),
    field(6, Buffer.alloc(answerBytes)),
  ]),
);
