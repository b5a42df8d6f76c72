"""A decoupled model: one request, ten answers."""

import queue

import numpy as np
from support import *

flags.protocol = "grpc"
module = client_module()
count, begin = 10, 100
answers = queue.Queue()


def value(name, datatype, array):
    given = module.InferInput(name, array.shape, datatype)
    given.set_data_from_numpy(array)
    return given


inputs = [
    value("IN", "INT32", np.arange(begin, begin + count, dtype=np.int32)),
    value("DELAY", "UINT32", np.full(count, 20, dtype=np.uint32)),
    value("WAIT", "UINT32", np.array([20], dtype=np.uint32)),
]
with client() as triton:
    check(triton.get_model_config("repeat_int32").config.model_transaction_policy.decoupled, "it is told as decoupled")
    triton.start_stream(lambda result, error: answers.put((result, error)))
    for _ in range(2):
        triton.async_stream_infer("repeat_int32", inputs, outputs=[module.InferRequestedOutput("OUT")], request_id="r")
        for expected in range(begin, begin + count):
            result, error = answers.get(timeout=30)
            check(error is None, f"an error: {error}")
            got = result.as_numpy("OUT")
            check(list(got) == [expected], f"{got}, not [{expected}]")
            check(result.get_response().id == "r", "the id of the request")
    triton.stop_stream()
    check(answers.empty(), "no further answer")
