import { cp, mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { imageRoot, must } from "../install/index.ts";
import type { Podman } from "./podman.ts";

const root = fileURLToPath(new URL("../../..", import.meta.url));

/** Name of the image that is built here. */
export const ownImage = "localhost/longshore:latest";

/**
 * Builds the image of `deploy/image/Dockerfile` without an image registry. The stages that prepare its content run here: the root file system of
 * the same Debian packages, this Node.js, and the packages of this checkout. The last stage is built as it stands in the file.
 */
export async function buildOwnImage(podman: Podman, folder: string): Promise<void> {
  const build = join(folder, "image");
  await mkdir(join(build, "usr", "local", "bin"), { recursive: true });
  await cp(process.execPath, join(build, "usr", "local", "bin", "node"));
  await must(process.execPath, [join(root, "deploy", "image", "assemble.mjs"), join(build, "app")]);
  const text = await readFile(join(root, "deploy", "image", "Dockerfile"), "utf8");
  const last = text.slice(text.lastIndexOf("\nFROM ") + 1);
  await podman.build({
    tag: ownImage,
    text: last,
    context: root,
    contexts: { rootfs: await imageRoot(), build },
  });
}
