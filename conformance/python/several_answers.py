"""Triton's Python client asks a decoupled model for several answers over one stream: in order, with an error between them, and given up."""

import queue
import sys

import numpy as np
import tritonclient.grpc as triton

(address,) = sys.argv[1:]
answers = queue.Queue()


def check(condition, what):
    if not condition:
        sys.exit(f"wrong: {what}")


def ask(client, values, delays, id):
    inputs = [triton.InferInput("IN", [len(values)], "INT32"), triton.InferInput("DELAY", [len(values)], "UINT32")]
    inputs[0].set_data_from_numpy(np.array(values, np.int32))
    inputs[1].set_data_from_numpy(np.array(delays, np.uint32))
    client.async_stream_infer("repeat", inputs, request_id=id, enable_empty_final_response=True)


def given():
    """The values until the final answer, and the error where there was one."""
    values = []
    while True:
        result, error = answers.get(timeout=60)
        if error is not None:
            return values, error
        if result.as_numpy("OUT") is not None:
            values.append(int(result.as_numpy("OUT")[0]))
        if result.get_response().parameters["triton_final_response"].bool_param:
            return values, None


with triton.InferenceServerClient(address) as client:
    config = client.get_model_config("repeat").config
    check(config.model_transaction_policy.decoupled, "the model says that it is decoupled")
    client.start_stream(lambda result, error: answers.put((result, error)))
    ask(client, list(range(100)), [0] * 100, "all")
    check(given() == (list(range(100)), None), "all answers in their order")
    ask(client, [7, 8, -1, 9], [0, 0, 0, 0], "error")
    values, error = given()
    check(values == [7, 8], f"answers before the error, not {values}")
    check(error is not None and "negative" in str(error), f"the model's own words, not {error}")
    ask(client, [], [], "none")
    check(given() == ([], None), "no answer at all")
    ask(client, [1, 2, 3], [0, 0, 60_000], "left")
    check([int(answers.get(timeout=60)[0].as_numpy("OUT")[0]) for _ in range(2)] == [1, 2], "answers before it is given up")
    client.stop_stream(cancel_requests=True)
