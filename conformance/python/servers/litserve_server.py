"""LitServe with one model that hands requests to ONNX Runtime. Its binary form is a file field of a form."""

import argparse
import json

import litserve
import numpy
import onnxruntime
from fastapi import Response

parser = argparse.ArgumentParser()
parser.add_argument("--port", type=int, required=True)
parser.add_argument("--model", required=True)
parser.add_argument("--workers", type=int, required=True)
arguments = parser.parse_args()
told = json.loads(arguments.model)


class OnnxApi(litserve.LitAPI):
    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = told["threads"]
        options.add_session_config_entry("session.intra_op.allow_spinning", told["spinning"])
        self.session = onnxruntime.InferenceSession(told["file"], options, providers=["CPUExecutionProvider"])
        self.input = self.session.get_inputs()[0].name

    def decode_request(self, request):
        content = request["tensor"].file.read()
        return numpy.frombuffer(content, dtype=told["dtype"]).reshape(told["shape"])

    def batch(self, inputs):
        return numpy.concatenate(inputs)

    def unbatch(self, output):
        return numpy.split(output, len(output))

    def predict(self, x):
        return self.session.run(None, {self.input: x})[0]

    def encode_response(self, output):
        return Response(content=numpy.ascontiguousarray(output).tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    api = OnnxApi(max_batch_size=told["batch"], batch_timeout=told["delay"])
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=arguments.workers, timeout=60)
    server.run(port=arguments.port, generate_client_file=False, log_level="warning")
