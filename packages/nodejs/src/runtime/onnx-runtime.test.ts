import { onnxRuntimeContract } from "@longshore/testkit";
import { onnxRuntime } from "./onnx-runtime.ts";

onnxRuntimeContract("onnxRuntime", () => onnxRuntime());
