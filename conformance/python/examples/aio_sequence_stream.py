"""Sequences over one stream, with the client for asyncio."""

import asyncio

import numpy as np
import tritonclient.grpc.aio as module
from support import *

from sequence_data import sequences

flags.protocol = "grpc"
everything = sequences()


async def requests():
    for number, (model, sequence, values, _) in enumerate(everything):
        for step, value in enumerate(values):
            data = module.InferInput("INPUT", [1, 1], "INT32")
            data.set_data_from_numpy(np.full((1, 1), value, dtype=np.int32))
            yield {
                "model_name": model,
                "inputs": [data],
                "outputs": [module.InferRequestedOutput("OUTPUT")],
                "request_id": f"{number}_{step}",
                "sequence_id": sequence,
                "sequence_start": step == 0,
                "sequence_end": step == len(values) - 1,
            }


async def main():
    seen = [[] for _ in everything]
    async with module.InferenceServerClient(url()) as triton:
        async for result, error in triton.stream_infer(requests()):
            check(error is None, f"an error: {error}")
            number = int(result.get_response().id.split("_")[0])
            seen[number].append(int(result.as_numpy("OUTPUT")[0][0]))
    for (model, sequence, _, expected), got in zip(everything, seen):
        check(got == expected, f"{model} {sequence}: {got}, not {expected}")


asyncio.run(main())
