"""A pipeline that takes the bytes of image files and answers with classes."""

import io

import numpy as np
from PIL import Image
from support import *

module = client_module()
triton = client()
metadata = triton.get_model_metadata("colours_of_files")
[given] = field(metadata, "inputs")
[wanted] = field(metadata, "outputs")
check(field(given, "datatype") == "BYTES", "it takes bytes")
for colour, label in (("red", "red"), ("lime", "green"), ("blue", "blue")):
    for kind in ("PNG", "JPEG"):
        file = io.BytesIO()
        Image.new("RGB", (64, 48), colour).save(file, kind)
        value = module.InferInput(field(given, "name"), [1], "BYTES")
        value.set_data_from_numpy(np.array([file.getvalue()], dtype=object))
        outputs = [module.InferRequestedOutput(field(wanted, "name"), class_count=1)]
        answer = triton.infer("colours_of_files", [value], outputs=outputs).as_numpy(field(wanted, "name"))
        best = answer.flatten()[0]
        best = best.decode() if isinstance(best, bytes) else best
        check(best.split(":")[2] == label, f"a {colour} {kind} is {best}")
triton.close()
