"""Triton's Python client over gRPC through an Envoy with a picker: where requests go, and how refusals are told."""

import json
import queue
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException

address, mode = sys.argv[1:]


def check(condition, what):
    if not condition:
        sys.exit(f"wrong: {what}")


def rules(zone=None):
    text = "class=internal;trust=none" + (f";zones={zone}" if zone else "")
    return {"longshore-rules": text}


def inputs():
    made = [triton.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
    for one in made:
        one.set_data_from_numpy(np.full([1, 16], 3, np.int32))
    return made


def infer(client, headers, model="simple", **more):
    result = client.infer(model, inputs(), headers=headers, **more)
    check((result.as_numpy("OUTPUT0") == 6).all(), "the sum")


def refused(ask, code, reason):
    try:
        ask()
    except InferenceServerException as error:
        check(error.status() == f"StatusCode.{code}", f"{error.status()} instead of {code}: {error.message()}")
        # The client's own error does not tell the trailers.
        call = error.__context__
        told = dict(call.trailing_metadata() or ()) | dict(call.initial_metadata() or ())
        check(told.get("longshore-reason") == reason, f"the reason {told.get('longshore-reason')}, not {reason}")
        return told
    sys.exit(f"wrong: no {code}")


with triton.InferenceServerClient(address) as client:
    if mode == "full":
        told = refused(lambda: infer(client, rules()), "RESOURCE_EXHAUSTED", "rejected")
        check(told.get("grpc-retry-pushback-ms") == "1000", f"when to come back, not {told}")
        sys.exit(0)
    zone = mode.split("=")[1] if "=" in mode else None
    for _ in range(4):
        infer(client, rules(zone))
        infer(client, {**rules(zone), "longshore-model": "simple", "longshore-model-version": "1"})
    named = {**rules(zone), "longshore-model": "simple"}
    infer(client, named, compression_algorithm="gzip")
    refused(lambda: infer(client, rules(zone), compression_algorithm="gzip"), "UNIMPLEMENTED", "unsupported")
    large = triton.InferInput("INPUT0", [1, 1], "BYTES")
    large.set_data_from_numpy(np.array([[b"x" * 3_000_000]], np.object_))
    answer = client.infer("simple_identity", [large], headers=rules(zone))
    check(len(answer.as_numpy("OUTPUT0")[0][0]) == 3_000_000, "a large message")
    check(client.is_server_ready(), "ready")
    check(client.is_model_ready("simple"), "the model is ready")
    check(client.get_model_metadata("simple", as_json=True)["name"] == "simple", "metadata")
    check(len(client.get_model_repository_index(as_json=True)["models"]) > 0, "the index")
    refused(lambda: infer(client, rules("asia")), "PERMISSION_DENIED", "policy-denied")
    refused(lambda: infer(client, rules(), "nothing"), "NOT_FOUND", "unknown-model")
    refused(lambda: client.load_model("simple"), "UNIMPLEMENTED", "unsupported")
    refused(lambda: infer(client, {**rules(), "longshore-model": "a/b"}), "NOT_FOUND", "unknown-model")
    # Each request of a stream waits for the answer to the one before.
    for headers in (named,) if mode.startswith("open") else (named, rules(zone)):
        answers = queue.Queue()
        client.start_stream(lambda result, error: answers.put((result, error)), headers=headers)
        for _ in range(3):
            client.async_stream_infer("simple", inputs())
            result, error = answers.get(timeout=60)
            check(error is None and (result.as_numpy("OUTPUT0") == 6).all(), f"an answer in a stream: {error}")
        client.stop_stream()
    print("done")
