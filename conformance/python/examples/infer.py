"""Plain inference: named and unnamed outputs, JSON and binary parts, compression, headers, query, statistics, a wrong name."""

from support import *

module = client_module()
triton = client()
http = flags.protocol == "http"
extra = {"query_params": {"test_1": 1, "test_2": 2}} if http else {"client_timeout": 30.0}

for algorithm in (None, "gzip", "deflate"):
    first, second = add_sub_data(-1)
    inputs = add_sub_inputs(module, first, second, binary=(False, True) if http else None)
    if http:
        outputs = [
            module.InferRequestedOutput("OUTPUT0", binary_data=True),
            module.InferRequestedOutput("OUTPUT1", binary_data=False),
        ]
        coding = {"request_compression_algorithm": algorithm, "response_compression_algorithm": algorithm}
    else:
        outputs = [module.InferRequestedOutput("OUTPUT0"), module.InferRequestedOutput("OUTPUT1")]
        coding = {"compression_algorithm": algorithm}
    result = triton.infer("simple", inputs, outputs=outputs, headers={"test": "1"}, request_id="7", **extra, **coding)
    check_add_sub(result, first, second)
    check(field(result.get_response(), "id") == "7", "the id comes back")
    check_add_sub(triton.infer("simple", inputs, outputs=None, **extra, **coding), first, second)

one = triton.infer("simple", inputs, outputs=outputs[1:], model_version="1")
check(one.as_numpy("OUTPUT0") is None, "an output that was not asked for")
statistics = triton.get_inference_statistics("simple")
stats = field(statistics, "model_stats")
check(len(stats) == 1, "one version's statistics")
success = field(field(stats[0], "inference_stats"), "success")
check(int(field(success, "count")) >= 7, "statistics count the inferences")
expect_error(lambda: triton.infer("wrong_model_name", inputs, outputs=outputs), "unknown model")
expect_error(lambda: triton.infer("simple", inputs, model_version="9"), "version")
expect_error(lambda: triton.infer("simple", inputs[:1]), "input")
triton.close()
