"""Python as a client of a local Longshore server, which decides where each request runs.

    longshore serve samples/repository --tier device --data-class internal --port 8000 --at http://edge.example:8000
    pip install "tritonclient[http]"
    python examples/python/infer.py 127.0.0.1:8000
"""

import json
import sys

import numpy
import tritonclient.http as triton

client = triton.InferenceServerClient(sys.argv[1] if len(sys.argv) > 1 else "127.0.0.1:8000")
readings = triton.InferInput("readings", [1, 32, 4096], "FP32")
readings.set_data_from_numpy(numpy.zeros((1, 32, 4096), numpy.float32))

# Limits travel as headers; the account of the reply says where it ran.
headers = {"longshore-deadline": "30000", "longshore-account": "1"}
result = client.infer("anomaly", [readings], headers=headers)

score = float(result.as_numpy("score")[0, 0])
account = json.loads(result.get_response()["parameters"]["longshore_account"])
print(f"score {score:.3f}, ran at {account['endpoint']}")
