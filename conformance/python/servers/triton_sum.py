"""A model of Triton's Python backend that keeps state: gives the sum of what a sequence has sent since its start."""

import numpy
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        self.sums = {}

    def execute(self, requests):
        responses = []
        for request in requests:
            name = request.correlation_id()
            value = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            starts = request.flags() & pb_utils.TRITONSERVER_REQUEST_FLAG_SEQUENCE_START
            self.sums[name] = value + (0 if starts else self.sums[name])
            responses.append(pb_utils.InferenceResponse([pb_utils.Tensor("OUT", self.sums[name])]))
        return responses
