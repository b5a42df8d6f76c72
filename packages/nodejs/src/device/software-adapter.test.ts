import { expect, it } from "vitest";
import { softwareAdapter } from "./software-adapter.ts";

const gpu = (folder: string): readonly string[] => (folder === "/dev/dri" ? ["card0", "renderD128"] : []);

it("knows software drivers by the files that the environment names", () => {
  expect(softwareAdapter({ VK_ICD_FILENAMES: "/opt/vk_swiftshader_icd.json" }, gpu)).toContain("is software");
  expect(softwareAdapter({ VK_DRIVER_FILES: "/usr/share/vulkan/icd.d/lvp_icd.x86_64.json" }, gpu)).toContain(
    "is software",
  );
  expect(softwareAdapter({ VK_ICD_FILENAMES: "/a/nvidia_icd.json:/b/lvp_icd.json" }, gpu)).toBeUndefined();
});

it.runIf(process.platform === "linux")("looks for a graphics processor where Linux shows them", () => {
  expect(softwareAdapter({}, gpu)).toBeUndefined();
  expect(softwareAdapter({}, (folder) => (folder === "/dev" ? ["nvidia0", "null"] : []))).toBeUndefined();
  expect(softwareAdapter({}, () => [])).toContain("no graphics processor");
});
