"""A decoupled model of Triton's Python backend: gives each number of IN as an answer of its own after its DELAY in milliseconds. A
negative number is an error: -1 together with the end of the answers, others before it. What became of each request is noted in a file."""

import json
import threading
import time

import numpy
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def initialize(self, args):
        config = json.loads(args["model_config"])
        self.notes = config["parameters"]["notes"]["string_value"]
        self.threads = []

    def note(self, text):
        with open(self.notes, "a") as notes:
            notes.write(text + "\n")

    def answer(self, sender, values, delays):
        for index, (value, delay) in enumerate(zip(values, delays)):
            until = time.monotonic() + float(delay) / 1000
            while time.monotonic() < until:
                if sender.is_cancelled():
                    self.note("cancelled")
                    sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
                    return
                time.sleep(0.01)
            if value < 0:
                error = pb_utils.TritonError("a negative number", pb_utils.TritonError.INVALID_ARG)
                final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
                sender.send(pb_utils.InferenceResponse(error=error), flags=final if value == -1 else 0)
                if value != -1:
                    sender.send(flags=final)
                self.note("failed")
                return
            tensors = [
                pb_utils.Tensor("OUT", numpy.array([value], numpy.int32)),
                pb_utils.Tensor("IDX", numpy.array([index], numpy.uint32)),
            ]
            sender.send(pb_utils.InferenceResponse(tensors))
        sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
        self.note("complete")

    def execute(self, requests):
        for request in requests:
            values = pb_utils.get_input_tensor_by_name(request, "IN").as_numpy()
            delays = pb_utils.get_input_tensor_by_name(request, "DELAY").as_numpy()
            work = threading.Thread(target=self.answer, args=(request.get_response_sender(), values, delays))
            self.threads.append(work)
            work.start()
        return None

    def finalize(self):
        for work in self.threads:
            work.join()
