"""Inference with the clients for asyncio, several calls at once."""

import asyncio

from support import *


async def main():
    module = client_module()
    http = flags.protocol == "http"
    first, second = add_sub_data()
    async with module.InferenceServerClient(url()) as triton:
        inputs = add_sub_inputs(module, first, second, binary=(False, True) if http else None)
        outputs = [module.InferRequestedOutput(f"OUTPUT{index}") for index in range(2)]
        result = await triton.infer("simple", inputs, outputs=outputs, headers={"test": "1"})
        check_add_sub(result, first, second)
        statistics = await triton.get_inference_statistics("simple")
        check(len(field(statistics, "model_stats")) == 1, "one version's statistics")
        for result in await asyncio.gather(*(triton.infer("simple", inputs) for _ in range(4))):
            check_add_sub(result, first, second)
        try:
            await triton.infer("wrong_model_name", inputs, outputs=outputs)
            check(False, "a wrong name is no error")
        except module.InferenceServerException as error:
            check("unknown model" in error.message().lower(), f"the error says {error.message()!r}")


asyncio.run(main())
