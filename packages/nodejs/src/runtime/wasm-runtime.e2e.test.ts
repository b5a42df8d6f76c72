import { onnxRuntimeContract } from "@longshore/testkit";
import { wasmRuntime } from "./wasm-runtime.ts";

onnxRuntimeContract("wasmRuntime", () => wasmRuntime());
