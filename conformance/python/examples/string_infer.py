"""Texts: sums of texts that are numbers, and texts and bytes that come back as they are."""

import numpy as np
from support import *

module = client_module()
triton = client()
http = flags.protocol == "http"


def texts(array):
    return np.array([str(value).encode() for value in array.flatten()], dtype=np.object_).reshape(array.shape)


def named(name, binary):
    return module.InferRequestedOutput(name, binary_data=binary) if http else module.InferRequestedOutput(name)


first, second = add_sub_data()
inputs = add_sub_inputs(module, texts(first), texts(second), "BYTES", (True, False) if http else None)
result = triton.infer("simple_string", inputs, outputs=[named("OUTPUT0", True), named("OUTPUT1", False)])
for name, expected in (("OUTPUT0", first + second), ("OUTPUT1", first - second)):
    got = [[int(text) for text in row] for row in result.as_numpy(name)]
    check(np.array_equal(got, expected), f"{name}: {got}")

words = np.array([["café", "1", "", "naïve", "Ω", "日本語", "a" * 300, "x"] * 2], dtype=np.object_)
plain = np.array([str(value).encode() for value in range(16)], dtype=np.object_).reshape(1, 16)
for array in (texts(first), plain, words):
    for binary in (True, False) if http else (None,):
        value = module.InferInput("INPUT0", array.shape, "BYTES")
        if binary is None:
            value.set_data_from_numpy(array)
        else:
            value.set_data_from_numpy(array, binary_data=binary)
        answer = triton.infer("simple_identity", [value], outputs=[named("OUTPUT0", binary)]).as_numpy("OUTPUT0")
        expected = [text if isinstance(text, bytes) else text.encode() for text in array.flatten()]
        got = [text if isinstance(text, bytes) else text.encode() for text in answer.flatten()]
        check(answer.shape == array.shape and got == expected, f"the texts come back: {got[:4]}")

# The example also sends texts with zero bytes. ONNX Runtime's interface for JavaScript ends a text there, so they are refused
# rather than cut.
value = module.InferInput("INPUT0", [1, 1], "BYTES")
value.set_data_from_numpy(np.array([[b"a\x00b"]], dtype=np.object_))
expect_error(lambda: triton.infer("simple_identity", [value], outputs=[named("OUTPUT0", True)]), "zero byte")
triton.close()
