export { type BeliefsFileParts, openBeliefs, type OpenBeliefs } from "./beliefs-file.ts";
export { diskError, isOfDisk } from "./disk-error.ts";
export { type LocatedYaml, locatedYaml } from "./located-yaml.ts";
export { replaceFile } from "./replace-file.ts";
export { watchFiles } from "./watch-files.ts";
