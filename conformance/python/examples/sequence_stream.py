"""Sequences over one stream."""

import queue

import numpy as np
from support import *

from sequence_data import sequences

flags.protocol = "grpc"
module = client_module()
answers = queue.Queue()
everything = sequences()
with client() as triton:
    triton.start_stream(lambda result, error: answers.put((result, error)))
    for number, (model, sequence, values, _) in enumerate(everything):
        for step, value in enumerate(values):
            data = module.InferInput("INPUT", [1, 1], "INT32")
            data.set_data_from_numpy(np.full((1, 1), value, dtype=np.int32))
            triton.async_stream_infer(
                model,
                [data],
                outputs=[module.InferRequestedOutput("OUTPUT")],
                request_id=f"{number}_{step}",
                sequence_id=sequence,
                sequence_start=step == 0,
                sequence_end=step == len(values) - 1,
            )
    seen = [[] for _ in everything]
    for _ in range(sum(len(values) for _, _, values, _ in everything)):
        result, error = answers.get(timeout=30)
        check(error is None, f"an error: {error}")
        number = int(result.get_response().id.split("_")[0])
        seen[number].append(int(result.as_numpy("OUTPUT")[0][0]))
    for (model, sequence, _, expected), got in zip(everything, seen):
        check(got == expected, f"{model} {sequence}: {got}, not {expected}")
