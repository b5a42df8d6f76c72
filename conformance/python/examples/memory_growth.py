"""A client made anew for every request, many times."""

import numpy as np
from support import *

module = client_module()
expected = np.arange(16, dtype=np.float32).reshape(1, 16)
for _ in range(100):
    triton = client()
    value = module.InferInput("INPUT0", [1, 16], "FP32")
    value.set_data_from_numpy(expected)
    got = triton.infer("identity_fp32", [value], outputs=[module.InferRequestedOutput("OUTPUT0")]).as_numpy("OUTPUT0")
    check(got.dtype == expected.dtype and np.array_equal(got, expected), "the values come back")
    triton.close()
