"""Makes an int8 file of a network and says how far it agrees: quantise.py PLAN.json, where the plan names all files."""

import json
import sys

import numpy
import onnx
import onnx.version_converter
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

with open(sys.argv[1]) as text:
    plan = json.load(text)


def tensor(entry):
    return numpy.fromfile(entry["file"], dtype=numpy.float32).reshape(entry["shape"])


class Inputs(CalibrationDataReader):
    def __init__(self):
        self.feeds = iter([{plan["input"]: tensor(entry)} for entry in plan["calibration"]])

    def get_next(self):
        return next(self.feeds, None)


def session(file):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


def with_initializers(file, to):
    """
    The quantiser looks for weights among initialisers, where some exporters write each as a node of its own; and scales for
    each channel came with opset 13.
    """
    model = onnx.load(file)
    if model.opset_import[0].version < 13:
        model = onnx.version_converter.convert_version(model, 13)
    graph = model.graph
    constants = [node for node in graph.node if node.op_type == "Constant" and node.attribute[0].name == "value"]
    for node in constants:
        weight = graph.initializer.add()
        weight.CopyFrom(node.attribute[0].t)
        weight.name = node.output[0]
        graph.node.remove(node)
    onnx.save(model, to)


with_initializers(plan["model"], plan["prepared"])
quant_pre_process(plan["prepared"], plan["prepared"], skip_symbolic_shape=True)
quantize_static(
    plan["prepared"],
    plan["int8"],
    Inputs(),
    quant_format=QuantFormat.QDQ,
    per_channel=True,
    activation_type=QuantType.QUInt8,
    weight_type=QuantType.QInt8,
    op_types_to_quantize=["Conv", "MatMul"],
)
whole, small = session(plan["model"]), session(plan["int8"])
same = []
for entry in plan["heldOut"]:
    feed = {plan["input"]: tensor(entry)}
    limit = plan["threshold"]
    ours, theirs = (one.run(None, feed)[0] > limit for one in (whole, small))
    found = numpy.logical_or(ours, theirs).sum()
    same.append(float(numpy.logical_and(ours, theirs).sum() / found) if found else 1.0)
print(json.dumps({"agreement": same}))
