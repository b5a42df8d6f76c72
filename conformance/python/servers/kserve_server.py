"""KServe's Python server with one model that hands requests to ONNX Runtime."""

import argparse
import json

import kserve
import numpy
import onnxruntime
from kserve import InferOutput, InferRequest, InferResponse


class OnnxModel(kserve.Model):
    def __init__(self, name, file, threads, spinning):
        super().__init__(name)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.add_session_config_entry("session.intra_op.allow_spinning", spinning)
        self.session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        self.types = {numpy.dtype("float32"): "FP32", numpy.dtype("int32"): "INT32", numpy.dtype("int64"): "INT64"}
        self.ready = True

    def predict(self, payload: InferRequest, headers=None, response_headers=None) -> InferResponse:
        feeds = {value.name: value.as_numpy() for value in payload.inputs}
        names = [value.name for value in self.session.get_outputs()]
        outputs = []
        for name, array in zip(names, self.session.run(names, feeds)):
            output = InferOutput(name, list(array.shape), self.types[array.dtype])
            output.set_data_from_numpy(array, binary_data=True)
            outputs.append(output)
        return InferResponse(payload.id, self.name, outputs, use_binary_outputs=True)


parser = argparse.ArgumentParser(parents=[kserve.model_server.parser])
parser.add_argument("--model-list", required=True)
arguments, _ = parser.parse_known_args()
models = [
    OnnxModel(told["name"], told["file"], told["threads"], told["spinning"])
    for told in json.loads(arguments.model_list)
]
kserve.ModelServer(workers=arguments.workers, enable_grpc=True, enable_docs_url=False).start(models)
