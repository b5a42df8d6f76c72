"""Asynchronous inference; over gRPC also a call that is cancelled."""

import queue

from support import *

module = client_module()
first, second = add_sub_data()
if flags.protocol == "http":
    triton = client(concurrency=2)
    inputs = add_sub_inputs(module, first, second, binary=(True, True))
    outputs = [module.InferRequestedOutput(f"OUTPUT{index}", binary_data=True) for index in range(2)]
    requests = [triton.async_infer("simple", inputs, outputs=outputs) for _ in range(8)]
    for request in requests:
        check_add_sub(request.get_result(), first, second)
else:
    triton = client()
    inputs = add_sub_inputs(module, first, second)
    outputs = [module.InferRequestedOutput(f"OUTPUT{index}") for index in range(2)]
    answers = queue.Queue()

    def took(result, error):
        answers.put((result, error))

    for _ in range(8):
        triton.async_infer("simple", inputs, took, outputs=outputs, client_timeout=30.0)
    for _ in range(8):
        result, error = answers.get(timeout=30)
        check(error is None, f"an error: {error}")
        check_add_sub(result, first, second)
    context = triton.async_infer("simple", inputs, took, outputs=outputs)
    context.cancel()
    result, error = answers.get(timeout=30)
    check(result is not None or "CANCELLED" in str(error), f"a cancelled call answers {error}")
triton.close()
