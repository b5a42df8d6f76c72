"""Inputs in the typed fields of the message; what must not be mixed, and a version that is no number."""

import grpc
import numpy as np
import tritonclient.utils as utils
from support import *
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc

flags.protocol = "grpc"
stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(url()))
kind = flags.way
model, datatype = {"int": ("simple", "INT32"), "int8": ("simple_int8", "INT8"), "bytes": ("simple_string", "BYTES")}[kind]
first, second = add_sub_data()


def refused(change, *words):
    copy = messages.ModelInferRequest()
    copy.CopyFrom(request)
    change(copy)
    try:
        stub.ModelInfer(copy)
    except grpc.RpcError as error:
        check(error.code() in (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND), f"status {error.code()}")
        for word in words:
            check(word in error.details(), f"the error says {error.details()!r}")
        return
    check(False, "it is not refused")


request = messages.ModelInferRequest(model_name=model)
for index, array in enumerate((first, second)):
    given = request.inputs.add(name=f"INPUT{index}", datatype=datatype)
    given.shape.extend([1, 16])
    if kind == "bytes":
        given.contents.bytes_contents.extend(str(value).encode() for value in array.flatten())
    else:
        given.contents.int_contents.extend(int(value) for value in array.flatten())
    request.outputs.add(name=f"OUTPUT{index}")
response = stub.ModelInfer(request)
check(len(response.outputs) == 2, "two outputs")
for index, expected in enumerate((first + second, first - second)):
    raw = response.raw_output_contents[index]
    if kind == "bytes":
        got = [int(text) for text in utils.deserialize_bytes_tensor(raw)]
    else:
        got = np.frombuffer(raw, dtype=utils.triton_to_np_dtype(datatype)).tolist()
    check(got == expected.flatten().tolist(), f"OUTPUT{index}: {got}")
refused(lambda copy: setattr(copy, "model_version", "wrong_specification"), "wrong_specification")
if kind == "int":
    refused(lambda copy: copy.raw_input_contents.append(first.tobytes()), "INPUT0")
if kind == "int8":
    refused(lambda copy: copy.inputs[0].contents.int_contents.__setitem__(0, 400), "INPUT0")
