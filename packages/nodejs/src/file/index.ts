export { diskError, isOfDisk } from "./disk-error.ts";
export { replaceFile } from "./replace-file.ts";
export { watchFiles } from "./watch-files.ts";
