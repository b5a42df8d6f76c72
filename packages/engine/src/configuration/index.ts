export * from "./config.ts";
export { usedModels, withVariant, type WrittenVariant } from "./edit-yaml.ts";
export { parseModelYaml } from "./model-yaml.ts";
export {
  badConfiguration,
  checkModelName,
  compareVersions,
  isFileName,
  isModelName,
  isVersionName,
  notModelName,
  someNames,
} from "./names.ts";
export { parseTritonConfig } from "./triton-config.ts";
export { parseTritonJson } from "./triton-json.ts";
