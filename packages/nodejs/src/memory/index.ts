export { type SharedFolder, sharedFolder, type SharedFile } from "./shared-folder.ts";
