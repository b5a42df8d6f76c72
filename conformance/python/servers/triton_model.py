"""A model of Triton's Python backend that hands requests to ONNX Runtime, joined into one run where the model is batched."""

import json

import numpy
import onnxruntime
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        told = {name: value["string_value"] for name, value in config["parameters"].items()}
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(told["threads"])
        options.add_session_config_entry("session.intra_op.allow_spinning", told["spinning"])
        self.session = onnxruntime.InferenceSession(told[f"file-{args['model_version']}"], options, providers=["CPUExecutionProvider"])
        self.inputs = [value.name for value in self.session.get_inputs()]
        self.outputs = [value.name for value in self.session.get_outputs()]
        self.joins = config["max_batch_size"] > 1

    def answer(self, arrays):
        return pb_utils.InferenceResponse(
            output_tensors=[pb_utils.Tensor(name, array) for name, array in zip(self.outputs, arrays)]
        )

    def execute(self, requests):
        feeds = [
            {name: pb_utils.get_input_tensor_by_name(request, name).as_numpy() for name in self.inputs}
            for request in requests
        ]
        if not self.joins or len(feeds) == 1:
            return [self.answer(self.session.run(self.outputs, feed)) for feed in feeds]
        first = self.inputs[0]
        ends = numpy.cumsum([feed[first].shape[0] for feed in feeds])[:-1]
        joined = {name: numpy.concatenate([feed[name] for feed in feeds]) for name in self.inputs}
        parts = [numpy.split(array, ends) for array in self.session.run(self.outputs, joined)]
        return [self.answer(arrays) for arrays in zip(*parts)]
