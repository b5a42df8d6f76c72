"""The generated stub without the client around it: health, metadata, configuration, raw inference."""

import grpc
import numpy as np
from support import *
from tritonclient.grpc import service_pb2 as messages
from tritonclient.grpc import service_pb2_grpc

flags.protocol = "grpc"
stub = service_pb2_grpc.GRPCInferenceServiceStub(grpc.insecure_channel(url()))
check(stub.ServerLive(messages.ServerLiveRequest()).live, "live")
check(stub.ServerReady(messages.ServerReadyRequest()).ready, "ready")
name = "colours"
check(stub.ModelReady(messages.ModelReadyRequest(name=name, version="")).ready, "model ready")
check(stub.ServerMetadata(messages.ServerMetadataRequest()).name != "", "server metadata")
check(stub.ModelMetadata(messages.ModelMetadataRequest(name=name)).name == name, "model metadata")
check(stub.ModelConfig(messages.ModelConfigRequest(name=name)).config.name == name, "model configuration")
request = messages.ModelInferRequest(model_name=name, id="my request id")
given = request.inputs.add(name="pixels", datatype="FP32")
given.shape.extend([1, 3, 16, 16])
request.outputs.add(name="scores")
request.raw_input_contents.append(bytes(3 * 16 * 16 * 4))
response = stub.ModelInfer(request)
check(response.id == "my request id" and response.model_name == name, "id and name")
check(np.frombuffer(response.raw_output_contents[0], dtype=np.float32).tolist() == [0, 0, 0], "the output")
