"""Sequences one request after another, with ids that are numbers and texts."""

import numpy as np
from support import *

from sequence_data import sequences

module = client_module()
triton = client()
for model, sequence, values, expected in sequences():
    for step, value in enumerate(values):
        data = module.InferInput("INPUT", [1, 1], "INT32")
        data.set_data_from_numpy(np.full((1, 1), value, dtype=np.int32))
        result = triton.infer(
            model,
            [data],
            outputs=[module.InferRequestedOutput("OUTPUT")],
            sequence_id=sequence,
            sequence_start=step == 0,
            sequence_end=step == len(values) - 1,
        )
        answer = int(result.as_numpy("OUTPUT")[0][0])
        check(answer == expected[step], f"{model} {sequence} step {step}: {answer}, not {expected[step]}")
triton.close()
