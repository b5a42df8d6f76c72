export { chunkValues, type Kernels, kernels, leastForKernels } from "./kernels.ts";
