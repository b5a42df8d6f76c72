"""The same input and output objects used again, with and without shared memory."""

import numpy as np
import tritonclient.utils.shared_memory as shm
from support import *

module = client_module()
triton = client()
triton.unregister_system_shared_memory()
first, second = (array.reshape(16) for array in add_sub_data())
size = first.nbytes
names = ["input0_data", "input1_data", "output0_data", "output1_data"]
handles = {}
inputs = [module.InferInput(f"INPUT{index}", [1, 16], "INT32") for index in range(2)]
outputs = [module.InferRequestedOutput(f"OUTPUT{index}") for index in range(2)]


def with_memory():
    for index in range(2):
        inputs[index].set_shared_memory(f"input{index}_data", size)
        outputs[index].set_shared_memory(f"output{index}_data", size)
    result = triton.infer("simple", inputs, outputs=outputs)
    for index, expected in enumerate((first + second, first - second)):
        check(result.get_output(f"OUTPUT{index}") is not None, f"OUTPUT{index} is told")
        got = shm.get_contents_as_numpy(handles[f"output{index}_data"], np.int32, [1, 16])
        check(np.array_equal(got[0], expected), f"OUTPUT{index} in the region")


def without_memory():
    arrays = (first.reshape(1, 16), second.reshape(1, 16) * 2)
    for index in range(2):
        inputs[index].set_data_from_numpy(arrays[index])
        outputs[index].unset_shared_memory()
    check_add_sub(triton.infer("simple", inputs, outputs=outputs), *arrays)


try:
    for name in names:
        handles[name] = shm.create_shared_memory_region(name, f"/longshore_conformance_{name}", size)
        triton.register_system_shared_memory(name, f"/longshore_conformance_{name}", size)
    shm.set_shared_memory_region(handles["input0_data"], [first])
    shm.set_shared_memory_region(handles["input1_data"], [second])
    for _ in range(2):
        with_memory()
        without_memory()
    triton.unregister_system_shared_memory()
finally:
    for handle in handles.values():
        shm.destroy_shared_memory_region(handle)
triton.close()
