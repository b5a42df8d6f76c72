import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { graphBuilder, writeModel } from "@longshore/graph";
import { tritonModels, writeModels } from "@longshore/testkit/triton-models";

/** The mean of each channel of an image as the score of its colour. */
function colours(): Uint8Array {
  const build = graphBuilder();
  const pixels = build.input("pixels", "FP32", ["rows", 3, 16, 16]);
  build.node("ReduceMean", [pixels], {
    outputs: ["scores"],
    attributes: { axes: { ints: [2, 3] }, keepdims: { int: 0 } },
  });
  build.output("scores", "FP32", ["rows", 3]);
  return writeModel(build.model({ name: "colours", opset: 13 }));
}

const coloursConfig = `name: "colours"
platform: "onnxruntime_onnx"
max_batch_size: 8
input [ { name: "pixels" data_type: TYPE_FP32 format: FORMAT_NCHW dims: [ 3, 16, 16 ] } ]
output [ { name: "scores" data_type: TYPE_FP32 dims: [ 3 ] label_filename: "labels.txt" } ]
`;

const pipeline = `name: colours_of_files
inputs: [{ name: file, datatype: BYTES, shape: [1], media: image }]
outputs: [{ name: scores, datatype: FP32, shape: [1, 3], labels: labels.txt }]
pipeline:
  steps:
    - { id: decode, transform: decode-image, inputs: { bytes: file } }
    - { id: fit, transform: resize-image, with: { height: 16, width: 16 }, inputs: { image: decode.image } }
    - { id: level, transform: normalise-image, with: { mean: [0.5], std: [0.5] }, inputs: { image: fit.image } }
    - { id: look, model: colours, inputs: { pixels: level.tensor } }
  outputs: { scores: look.scores }
`;

const repeat = `name: repeat_int32
inputs:
  - { name: IN, datatype: INT32, shape: [-1] }
  - { name: DELAY, datatype: UINT32, shape: [-1] }
  - { name: WAIT, datatype: UINT32, shape: [1] }
outputs:
  - { name: OUT, datatype: INT32, shape: [1] }
  - { name: IDX, datatype: UINT32, shape: [1] }
pipeline:
  steps:
    - { id: again, transform: repeat, inputs: { values: IN, delays: DELAY } }
  outputs: { OUT: again.value, IDX: again.index }
`;

/** Writes the repository that clients are run against: Triton's example models, an image classifier, two pipelines. */
export async function writeRepository(folder: string): Promise<void> {
  const labels = "red\ngreen\nblue\n";
  const files = {
    ...tritonModels(),
    "colours/config.pbtxt": coloursConfig,
    "colours/labels.txt": labels,
    "colours/1/model.onnx": colours(),
    "colours_of_files/model.yaml": pipeline,
    "colours_of_files/labels.txt": labels,
    "repeat_int32/model.yaml": repeat,
  };
  await writeModels(folder, files);
  // A pipeline has no file of its own, but a version is a folder.
  for (const model of ["colours_of_files", "repeat_int32"]) {
    const file = join(folder, model, "1", "pipeline.txt");
    await mkdir(dirname(file), { recursive: true });
    await writeFile(file, "The pipeline is in model.yaml.\n");
  }
}
