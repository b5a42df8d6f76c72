"""Texts in system shared memory, in the form that the client serialises them."""

import numpy as np
import tritonclient.utils as utils
import tritonclient.utils.shared_memory as shm
from support import *

module = client_module()
triton = client()
triton.unregister_system_shared_memory()
numbers, ones = np.arange(16), np.ones(16, dtype=int)


def serialised(array):
    texts = np.array([str(value).encode() for value in array], dtype=object)
    return utils.serialize_byte_tensor(texts)


contents = {
    "input0_data": serialised(numbers),
    "input1_data": serialised(ones),
    "output0_data": serialised(numbers + ones),
    "output1_data": serialised(numbers - ones),
}
handles = {}
try:
    sizes = {name: utils.serialized_byte_size(data) for name, data in contents.items()}
    for name, data in contents.items():
        key = f"/longshore_conformance_{name}"
        handles[name] = shm.create_shared_memory_region(name, key, sizes[name])
        if name.startswith("input"):
            shm.set_shared_memory_region(handles[name], [data])
        triton.register_system_shared_memory(name, key, sizes[name])
    inputs = [module.InferInput(f"INPUT{index}", [1, 16], "BYTES") for index in range(2)]
    outputs = [module.InferRequestedOutput(f"OUTPUT{index}") for index in range(2)]
    for index in range(2):
        inputs[index].set_shared_memory(f"input{index}_data", sizes[f"input{index}_data"])
        outputs[index].set_shared_memory(f"output{index}_data", sizes[f"output{index}_data"])
    triton.infer("simple_string", inputs, outputs=outputs)
    for index, expected in enumerate((numbers + ones, numbers - ones)):
        got = shm.get_contents_as_numpy(handles[f"output{index}_data"], np.object_, [1, 16])
        check([int(text) for text in got[0]] == list(expected), f"OUTPUT{index} in the region")
    triton.unregister_system_shared_memory()
finally:
    for handle in handles.values():
        shm.destroy_shared_memory_region(handle)
triton.close()
