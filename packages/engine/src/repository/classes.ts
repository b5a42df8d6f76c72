import { badConfiguration, type ModelConfig } from "../configuration/index.ts";
import type { RepositoryParts } from "./repository-parts.ts";

/**
 * Throws `invalid-configuration` where a step declassifies to a class that the policy here does not name: a misspelt word would keep on the
 * device what the operator meant to let go.
 */
export function checkClasses({ classes }: RepositoryParts, model: string, config: ModelConfig): void {
  for (const { id, declassifiesTo } of config.pipeline?.steps ?? []) {
    if (declassifiesTo === undefined) continue;
    const known = classes?.();
    if (!known || known.includes(declassifiesTo)) continue;
    const what = `names the data class '${declassifiesTo}', which no policy here has; known: ${known.join(", ")}`;
    throw badConfiguration(
      model,
      config.file,
      `pipeline step ${id} declassifiesTo`,
      `${what} (others come from policy.rules of longshore.yaml)`,
    );
  }
}
