import { type Directory, LongshoreError } from "@longshore/core";
import { type Alias, aliasFrom, type Rollouts } from "@longshore/core/internal";

/** Applies the operator's aliases of a directory here, and their changes. Unreadable ones are reported once. */
export function followAliases(
  directory: Directory,
  rollouts: Rollouts,
  report: (text: string) => void,
): Disposable {
  const reported = new Set<string>();
  const read = (): void => {
    const aliases: Alias[] = [];
    for (const raw of directory.aliases?.() ?? []) {
      try {
        aliases.push(aliasFrom(raw, "an alias of the directory"));
      } catch (thrown) {
        const { message } = LongshoreError.from(thrown, "resolve", "reading an alias of the directory");
        if (!reported.has(message)) report(message);
        reported.add(message);
      }
    }
    rollouts.follow(aliases);
  };
  read();
  return directory.watch(read);
}
