import { readdirSync } from "node:fs";
import { basename } from "node:path";

/** Vulkan drivers that compute on the processor: SwiftShader, and Mesa's lavapipe. */
const softwareDriver = /swiftshader|lvp_icd|lavapipe|llvmpipe/i;

/** Variables that name the drivers which the Vulkan loader may use. */
const driverVariables = ["VK_DRIVER_FILES", "VK_ICD_FILENAMES"];

/** Where Linux shows graphics processors, and what it calls them. `dxg` is the one of the Windows subsystem. */
const devices: readonly { readonly folder: string; readonly name: RegExp }[] = [
  { folder: "/dev/dri", name: /^renderD\d+$/ },
  { folder: "/dev", name: /^(nvidia\d+|dxg|kfd|mali\d*)$/ },
];

function namesIn(folder: string): readonly string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
}

/**
 * Why the graphics adapter of this machine is software, which makes it slower than the processor: the environment names a software driver, or
 * Linux shows no graphics processor. Undefined where nothing says so. `environment` and `list` are those of the process by default.
 *
 * @example
 * ```ts
 * import { softwareAdapter } from "@longshore/nodejs";
 *
 * const why = softwareAdapter({ VK_ICD_FILENAMES: "/opt/vk_swiftshader_icd.json" });
 * console.log(why); // its Vulkan driver vk_swiftshader_icd.json is software
 * ```
 */
export function softwareAdapter(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  list: (folder: string) => readonly string[] = namesIn,
): string | undefined {
  for (const variable of driverVariables) {
    const files = (environment[variable] ?? "").split(":").filter((file) => file !== "");
    const [first] = files;
    if (first !== undefined && files.every((file) => softwareDriver.test(basename(file))))
      return `its Vulkan driver ${basename(first)} is software`;
  }
  if (process.platform !== "linux") return undefined;
  const found = devices.some(({ folder, name }) => list(folder).some((one) => name.test(one)));
  return found ? undefined : "this machine shows no graphics processor, so its adapter is software";
}
