"""The repository: index, load, load with another configuration, unload, and what cannot be loaded."""

from support import *

triton = client()


def index():
    found = triton.get_model_repository_index()
    return {field(entry, "name"): field(entry, "state") for entry in (found if isinstance(found, list) else found.models)}


def config():
    found = triton.get_model_config("simple")
    return found.config if flags.protocol == "grpc" else found


check("simple" in index() and len(index()) >= 8, f"the index {index()}")
triton.load_model("simple")
check(triton.is_model_ready("simple"), "a loaded model is ready")
expect_error(lambda: triton.load_model("simple", config='"parameters": {"config": {{"max_batch_size": "16"}}}'), "failed to load")
triton.load_model("simple", config='{"max_batch_size":"16"}')
check(int(field(config(), "max_batch_size")) == 16, "the given configuration holds")
triton.unload_model("simple")
check(not triton.is_model_ready("simple"), "an unloaded model is not ready")
check(index()["simple"] in ("UNAVAILABLE", "UNLOADING"), f"an unloaded model is {index()['simple']}")
expect_error(lambda: triton.load_model("wrong_model_name"), "failed to load")
expect_error(lambda: triton.load_model("simple", config="{}", files={"file:" + "A" * 256: b"a"}))
check(triton.is_server_live(), "the server lives on")
triton.load_model("simple")
check(triton.is_model_ready("simple"), "it can be loaded again")
check(int(field(config(), "max_batch_size")) == 8, "with its own configuration")
triton.close()
