/** A request as bytes on a connection. */
export interface PreparedRequest {
  readonly head: string;
  readonly body: Buffer;
}

/** A request to the model `mean` with this many floats of 3 as binary data, whose answer is 3. */
export function meanRequest(floats: number): PreparedRequest {
  const parameters = { binary_data_size: floats * 4 };
  const input = { name: "x", datatype: "FP32", shape: [1, floats], parameters };
  const json = Buffer.from(JSON.stringify({ inputs: [input], parameters: { binary_data_output: true } }));
  const body = Buffer.concat([json, Buffer.from(new Float32Array(floats).fill(3).buffer)]);
  const head = [
    "POST /v2/models/mean/infer HTTP/1.1",
    "host: 127.0.0.1",
    "content-type: application/octet-stream",
    `content-length: ${body.byteLength}`,
    `inference-header-content-length: ${json.byteLength}`,
  ];
  return { head: `${head.join("\r\n")}\r\n\r\n`, body };
}

/** The number of floats in a request of 1 kB, as in `bench gateway`. */
export const floatsOf1k = 230;
