"""Counts the answers of the real model among some over gRPC; the others come from a server that answers nothing."""

import sys

import numpy as np
import tritonclient.grpc as triton

address, count = sys.argv[1], int(sys.argv[2])
inputs = [triton.InferInput(name, [1, 16], "INT32") for name in ("INPUT0", "INPUT1")]
for one in inputs:
    one.set_data_from_numpy(np.full([1, 16], 3, np.int32))
headers = {"longshore-rules": "class=internal;trust=none"}
with triton.InferenceServerClient(address) as client:
    answers = [client.infer("simple", inputs, headers=headers).as_numpy("OUTPUT0") for _ in range(count)]
print(sum(one is not None for one in answers))
