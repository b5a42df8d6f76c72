"""The calls of KServe's Python client: health, readiness, inference with arrays and with binary data."""

import asyncio
import sys

import numpy as np
from kserve import InferenceGRPCClient, InferenceRESTClient, InferInput, InferRequest
from kserve.inference_client import RESTConfig

wire, address = sys.argv[1:]
first = np.arange(16, dtype=np.int32).reshape(1, 16)
second = np.ones((1, 16), dtype=np.int32)


def request(binary):
    inputs = []
    for index, array in enumerate((first, second)):
        value = InferInput(f"INPUT{index}", [1, 16], "INT32")
        value.set_data_from_numpy(array, binary_data=binary)
        inputs.append(value)
    return InferRequest(model_name="simple", infer_inputs=inputs, request_id="k")


def check(condition, what):
    if not condition:
        sys.exit(f"wrong: {what}")


def check_answer(answer):
    check(answer.id == "k", "the id comes back")
    outputs = {output.name: output.as_numpy() for output in answer.outputs}
    check(np.array_equal(outputs["OUTPUT0"], first + second), "the sum")
    check(np.array_equal(outputs["OUTPUT1"], first - second), "the difference")


async def http():
    client = InferenceRESTClient(RESTConfig(protocol="v2", timeout=30))
    base = f"http://{address}"
    check(await client.is_server_live(base), "live")
    check(await client.is_server_ready(base), "ready")
    check(await client.is_model_ready(base, "simple"), "the model is ready")
    for binary in (False, True):
        check_answer(await client.infer(base, request(binary), model_name="simple"))


async def grpc():
    client = InferenceGRPCClient(address)
    check(await client.is_server_live(), "live")
    check(await client.is_server_ready(), "ready")
    check(await client.is_model_ready("simple"), "the model is ready")
    for binary in (False, True):
        check_answer(await client.infer(request(binary)))


asyncio.run(http() if wire == "http" else grpc())
