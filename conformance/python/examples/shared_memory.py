"""Inputs and outputs in system shared memory."""

import tritonclient.utils.shared_memory as shm
from support import *

module = client_module()
triton = client()
triton.unregister_system_shared_memory()
triton.unregister_cuda_shared_memory()
first, second = (array.reshape(16) for array in add_sub_data())
size = first.nbytes
handles = []
try:
    output = shm.create_shared_memory_region("output_data", "/longshore_conformance_output", size * 2)
    handles.append(output)
    triton.register_system_shared_memory("output_data", "/longshore_conformance_output", size * 2)
    given = shm.create_shared_memory_region("input_data", "/longshore_conformance_input", size * 2)
    handles.append(given)
    shm.set_shared_memory_region(given, [first])
    shm.set_shared_memory_region(given, [second], offset=size)
    triton.register_system_shared_memory("input_data", "/longshore_conformance_input", size * 2)
    status = triton.get_system_shared_memory_status()
    names = [entry["name"] for entry in status] if isinstance(status, list) else list(status.regions)
    check(sorted(names) == ["input_data", "output_data"], f"the registered regions {names}")
    inputs = [module.InferInput(f"INPUT{index}", [1, 16], "INT32") for index in range(2)]
    outputs = [module.InferRequestedOutput(f"OUTPUT{index}") for index in range(2)]
    for index in range(2):
        inputs[index].set_shared_memory("input_data", size, offset=index * size)
        outputs[index].set_shared_memory("output_data", size, offset=index * size)
    result = triton.infer("simple", inputs, outputs=outputs)
    for index, expected in enumerate((first + second, first - second)):
        told = result.get_output(f"OUTPUT{index}")
        check(told is not None and list(field(told, "shape")) == [1, 16], f"OUTPUT{index} is told")
        got = shm.get_contents_as_numpy(output, np.int32, [1, 16], offset=index * size)
        check(np.array_equal(got[0], expected), f"OUTPUT{index} in the region")
    inputs[0].set_shared_memory("input_data", size * 4)
    expect_error(lambda: triton.infer("simple", inputs, outputs=outputs))
    expect_error(lambda: triton.register_system_shared_memory("input_data", "/longshore_conformance_input", size * 2))
    expect_error(lambda: triton.register_system_shared_memory("other", "/longshore_conformance_nothing", size * 2))
    triton.unregister_system_shared_memory("input_data")
    triton.unregister_system_shared_memory()
    left = triton.get_system_shared_memory_status()
    check(len(left if isinstance(left, list) else left.regions) == 0, "nothing is registered any more")
finally:
    for handle in handles:
        shm.destroy_shared_memory_region(handle)
triton.close()
