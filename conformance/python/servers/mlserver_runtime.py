"""A runtime of MLServer that hands requests to ONNX Runtime."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxModel(MLModel):
    async def load(self) -> bool:
        extra = self.settings.parameters.extra
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = extra["threads"]
        options.add_session_config_entry("session.intra_op.allow_spinning", extra["spinning"])
        self.session = onnxruntime.InferenceSession(extra["file"], options, providers=["CPUExecutionProvider"])
        self.names = [value.name for value in self.session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        feeds = {value.name: NumpyCodec.decode_input(value) for value in payload.inputs}
        arrays = self.session.run(self.names, feeds)
        outputs = [NumpyCodec.encode_output(name, array) for name, array in zip(self.names, arrays)]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
