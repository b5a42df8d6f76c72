"""What the calls share: the two clients under one name, the add/sub model, and a check that says what it saw."""

import argparse
import asyncio
import importlib
import sys

import numpy as np

parser = argparse.ArgumentParser()
parser.add_argument("--protocol", choices=["http", "grpc"], default="http")
parser.add_argument("--http", required=True)
parser.add_argument("--grpc")
parser.add_argument("--asyncio", action="store_true")
parser.add_argument("--dyna", action="store_true")
parser.add_argument("--way", default="sync")
parser.add_argument("--images")
flags = parser.parse_args()


def url():
    address = flags.http if flags.protocol == "http" else flags.grpc
    if address is None:
        sys.exit("this server has no gRPC port")
    return address


def client_module():
    return importlib.import_module(f"tritonclient.{flags.protocol}{'.aio' if flags.asyncio else ''}")


class Awaited:
    """A client for asyncio each call of which is waited for, so that the calls of the other clients can be made with it."""

    def __init__(self, **options):
        async def opened():
            return client_module().InferenceServerClient(url(), **options)

        self.loop = asyncio.new_event_loop()
        self.client = self.loop.run_until_complete(opened())

    def __getattr__(self, name):
        return lambda *given, **named: self.loop.run_until_complete(getattr(self.client, name)(*given, **named))


def client(**options):
    return Awaited(**options) if flags.asyncio else client_module().InferenceServerClient(url(), **options)


def check(condition, what):
    if not condition:
        sys.exit(f"wrong: {what}")


def expect_error(call, *words):
    """The message of the error that the call has to raise, which has to hold the words."""
    from tritonclient.utils import InferenceServerException

    try:
        call()
    except InferenceServerException as error:
        text = error.message() or ""
        for word in words:
            check(word.lower() in text.lower(), f"the error says {text!r}, without {word!r}")
        return error
    sys.exit(f"wrong: no error with {words}")


def add_sub_data(second=1):
    first = np.arange(16, dtype=np.int32).reshape(1, 16)
    return first, np.full((1, 16), second, dtype=np.int32)


def add_sub_inputs(module, first, second, datatype="INT32", binary=None):
    inputs = [module.InferInput(f"INPUT{index}", [1, 16], datatype) for index in range(2)]
    for index, (value, array) in enumerate(zip(inputs, (first, second))):
        if binary is None:
            value.set_data_from_numpy(array)
        else:
            value.set_data_from_numpy(array, binary_data=binary[index])
    return inputs


def check_add_sub(result, first, second):
    check(np.array_equal(result.as_numpy("OUTPUT0"), first + second), "the sum")
    check(np.array_equal(result.as_numpy("OUTPUT1"), first - second), "the difference")


def field(value, name):
    """A field of a reply, which is a dictionary over HTTP and a message over gRPC."""
    return value[name] if isinstance(value, dict) else getattr(value, name)
