import { compareVersions, type ModelConfig } from "../configuration/index.ts";

/** Implicit version of a pipeline without a version folder: it has no files of its own. */
const onlyVersion = "1";

/** Of the version folders that there are, those that the policy serves, from old to new. */
export function servedVersions(
  { versions: policy, pipeline }: ModelConfig,
  folders: readonly string[],
): readonly string[] {
  const sorted = [...folders].sort(compareVersions);
  if (sorted.length === 0 && pipeline) return [onlyVersion];
  switch (policy.kind) {
    case "latest":
      return sorted.slice(-policy.count);
    case "all":
      return sorted;
    case "specific":
      return sorted.filter((name) => policy.versions.includes(name));
  }
}
