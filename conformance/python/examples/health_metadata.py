"""Health, metadata and configuration, with headers or a query, and a wrong name."""

from support import *

triton = client()
more = {"query_params": {"test_1": 1}} if flags.protocol == "http" else {"headers": {"test": "1", "dummy": "2"}}
check(triton.is_server_live(**more), "the server is live")
check(triton.is_server_ready(), "the server is ready")
check(triton.is_model_ready("simple"), "the model is ready")
check(triton.is_model_ready("simple", "1"), "the version is ready")
check(not triton.is_model_ready("wrong_model_name"), "a wrong model is not ready")
server = triton.get_server_metadata()
check(field(server, "name") != "" and field(server, "version") != "", "the server has a name and a version")
for extension in ("binary_tensor_data", "classification", "sequence", "statistics", "model_configuration"):
    check(extension in field(server, "extensions"), f"extension {extension}")
model = triton.get_model_metadata("simple", **more)
check(field(model, "name") == "simple", "the model's name")
inputs = {field(value, "name"): field(value, "datatype") for value in field(model, "inputs")}
check(inputs == {"INPUT0": "INT32", "INPUT1": "INT32"}, f"the inputs {inputs}")
check([int(size) for size in field(field(model, "inputs")[0], "shape")] == [-1, 16], "the batch axis is told")
expect_error(lambda: triton.get_model_metadata("wrong_model_name"), "unknown model")
config = triton.get_model_config("simple")
if flags.protocol == "grpc":
    config = config.config
check(field(config, "name") == "simple" and int(field(config, "max_batch_size")) == 8, "the configuration")
triton.close()
