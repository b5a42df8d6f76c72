"""An image classifier by its metadata and configuration alone: layout, classification with labels, several ways to call."""

import queue

import numpy as np
from PIL import Image
from support import *

flags.protocol = "http" if flags.way.startswith("http") else "grpc"
module = client_module()
way = flags.way.split("-")[1]
triton = client(concurrency=8) if flags.protocol == "http" else client()
metadata = triton.get_model_metadata("colours")
config = triton.get_model_config("colours")
config = config.config if flags.protocol == "grpc" else config
[given] = field(metadata, "inputs")
[wanted] = field(metadata, "outputs")
layout = field(field(config, "input")[0], "format")
check(layout in ("FORMAT_NCHW", 2), f"the layout of the input is told: {layout}")
check(int(field(config, "max_batch_size")) == 8, "it takes batches")
channels, height, width = (int(size) for size in field(given, "shape")[1:])
check((channels, height, width) == (3, 16, 16), "the shape is told")


def pixels(colour):
    image = Image.new("RGB", (40, 30), colour).resize((width, height), Image.BILINEAR)
    return np.transpose(np.asarray(image).astype(np.float32) / 127.5 - 1, (2, 0, 1))


colours = ["red", "lime", "blue"]
batch = np.stack([pixels(colour) for colour in colours])
value = module.InferInput(field(given, "name"), batch.shape, field(given, "datatype"))
value.set_data_from_numpy(batch)
outputs = [module.InferRequestedOutput(field(wanted, "name"), class_count=2)]
answers = queue.Queue()
took = lambda result, error: answers.put((result, error))
if way == "sync":
    results = [triton.infer("colours", [value], outputs=outputs, request_id="1")]
elif way == "async" and flags.protocol == "http":
    pending = [triton.async_infer("colours", [value], outputs=outputs, request_id=str(n)) for n in range(4)]
    results = [one.get_result() for one in pending]
else:
    if way == "streaming":
        triton.start_stream(took)
    for number in range(4):
        if way == "streaming":
            triton.async_stream_infer("colours", [value], outputs=outputs, request_id=str(number))
        else:
            triton.async_infer("colours", [value], took, outputs=outputs, request_id=str(number))
    results = []
    for _ in range(4):
        result, error = answers.get(timeout=30)
        check(error is None, f"an error: {error}")
        results.append(result)
    if way == "streaming":
        triton.stop_stream()
for result in results:
    classes = result.as_numpy(field(wanted, "name"))
    check(classes.shape == (3, 2), f"two classes of each image: {classes.shape}")
    for row, label in zip(classes, ["red", "green", "blue"]):
        score, _, name = (row[0].decode() if isinstance(row[0], bytes) else row[0]).split(":")
        check(name == label and abs(float(score) - 1) < 1e-5, f"{row[0]} is {label}")
triton.close()
