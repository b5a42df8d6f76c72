export { diskError, isOfDisk } from "./disk-error.ts";
export { type LocatedYaml, locatedYaml } from "./located-yaml.ts";
export { replaceFile } from "./replace-file.ts";
export { watchFiles } from "./watch-files.ts";
